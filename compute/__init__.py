"""Where work runs: devices, jobs, attempts, leases and the sandbox round a training child."""

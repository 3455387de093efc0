/* A stand-in for NVIDIA's driver library, loaded by the real pynvml in tests.
 *
 * Devices come from the text file named by NVML_STANDIN, read at every call, one a line:
 *     uuid|name|total bytes|used bytes|utilisation percent|state[|milliwatts[|millijoules[|ECC errors[|XID[|degrees[|reasons[|links]]]]]]]   (state: ok, lost, mig or blind)
 * A card without the last numbers measures no power or temperature, or counts no energy or errors. An XID is reported once.
 * The reasons are those for lower clocks, as a number of bits. Of two cards with the same number of links NVLink joins them,
 * with the same tens one PCIe switch does; others are on different processors.
 * A card in the state mig is cut into the instances of the lines below it, whose UUIDs begin with MIG-; it measures their use,
 * but not that of an instance in the state blind. An instance has no power, temperature, faults or links of its own.
 * Only what the product and its tests call is here; numbers follow nvml.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUCCESS 0
#define ERROR_UNINITIALIZED 1
#define ERROR_INVALID_ARGUMENT 2
#define ERROR_NOT_SUPPORTED 3
#define ERROR_NOT_FOUND 6
#define ERROR_TIMEOUT 10
#define ERROR_GPU_IS_LOST 15
#define MOST 16

typedef int nvmlReturn_t;
typedef struct device { char uuid[96]; char name[96]; unsigned long long total, used; unsigned int busy; char state[16]; unsigned int power, degrees, links; unsigned long long energy, ecc, xid, reasons; int measures; } *nvmlDevice_t;
typedef struct { unsigned long long total, free, used; } nvmlMemory_t;
typedef struct { unsigned int gpu, memory; } nvmlUtilization_t;
typedef struct { unsigned int version, number; } nvmlGpmSupport_t;
typedef struct { unsigned int id; nvmlReturn_t result; double value; char *names[3]; } nvmlGpmMetric_t;
typedef struct { unsigned int version, number; struct sample *first, *second; nvmlGpmMetric_t metrics[]; } nvmlGpmMetricsGet_t;
struct sample { unsigned int busy; };
typedef struct { nvmlDevice_t device; unsigned long long type, data; unsigned int gpu_instance, compute_instance; } nvmlEventData_t;

static struct device devices[MOST];
static unsigned int count = 0;
static int open_count = 0;
static unsigned long long reported[MOST];

static void look(void) {
    const char *path = getenv("NVML_STANDIN");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[512];
    count = 0;
    if (!file) return;
    while (count < MOST && fgets(line, sizeof line, file)) {
        struct device *one = &devices[count];
        int read = sscanf(line, "%95[^|]|%95[^|]|%llu|%llu|%u|%15[a-z]|%u|%llu|%llu|%llu|%u|%llu|%u", one->uuid, one->name, &one->total, &one->used,
                          &one->busy, one->state, &one->power, &one->energy, &one->ecc, &one->xid, &one->degrees, &one->reasons, &one->links);
        one->measures = read - 6;
        if (read < 10) one->xid = 0;
        if (read >= 6) count++;
    }
    fclose(file);
}

static nvmlReturn_t ready(nvmlDevice_t one) {
    if (!open_count) return ERROR_UNINITIALIZED;
    look();
    return strcmp(one->state, "lost") == 0 ? ERROR_GPU_IS_LOST : SUCCESS;
}

/* Cards are counted without instances. */
static int is_instance(nvmlDevice_t one) { return strncmp(one->uuid, "MIG-", 4) == 0; }

static nvmlDevice_t card_at(unsigned int wanted) {
    for (unsigned int index = 0; index < count; index++)
        if (!is_instance(&devices[index]) && wanted-- == 0) return &devices[index];
    return NULL;
}

static nvmlDevice_t card_of(nvmlDevice_t one) {
    while (is_instance(one)) one--;
    return one;
}

nvmlReturn_t nvmlInitWithFlags(unsigned int flags) { (void)flags; open_count++; look(); return SUCCESS; }
nvmlReturn_t nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
nvmlReturn_t nvmlShutdown(void) { if (!open_count) return ERROR_UNINITIALIZED; open_count--; return SUCCESS; }

const char *nvmlErrorString(nvmlReturn_t result) {
    switch (result) {
    case SUCCESS: return "Success";
    case ERROR_UNINITIALIZED: return "Uninitialized";
    case ERROR_NOT_SUPPORTED: return "Not Supported";
    case ERROR_NOT_FOUND: return "Not Found";
    case ERROR_TIMEOUT: return "Timeout";
    case ERROR_GPU_IS_LOST: return "GPU is lost";
    default: return "Invalid Argument";
    }
}

static nvmlReturn_t text(char *out, unsigned int length, const char *value) {
    if (strlen(value) + 1 > length) return 7; /* insufficient size */
    strcpy(out, value);
    return SUCCESS;
}

nvmlReturn_t nvmlSystemGetDriverVersion(char *out, unsigned int length) { return text(out, length, "999.0-standin"); }
nvmlReturn_t nvmlSystemGetNVMLVersion(char *out, unsigned int length) { return text(out, length, "13.999.0"); }
nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 13000; return SUCCESS; }

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *out) {
    if (!open_count) return ERROR_UNINITIALIZED;
    look();
    for (*out = 0; card_at(*out);) ++*out;
    return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *out) {
    if (!open_count) return ERROR_UNINITIALIZED;
    look();
    *out = card_at(index);
    return *out ? SUCCESS : ERROR_INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *out) {
    if (!open_count) return ERROR_UNINITIALIZED;
    look();
    for (unsigned int index = 0; index < count; index++)
        if (strcmp(devices[index].uuid, uuid) == 0) { *out = &devices[index]; return SUCCESS; }
    return ERROR_NOT_FOUND;
}

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t one, char *out, unsigned int length) { return text(out, length, one->name); }
nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t one, char *out, unsigned int length) { return text(out, length, one->uuid); }

nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t one, nvmlMemory_t *out) {
    nvmlReturn_t state = ready(one);
    if (state != SUCCESS) return state;
    out->total = one->total; out->used = one->used; out->free = one->total - one->used;
    return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t one, nvmlUtilization_t *out) {
    nvmlReturn_t state = ready(one);
    if (state != SUCCESS) return state;
    if (is_instance(one)) return ERROR_NOT_SUPPORTED;
    out->gpu = one->busy; out->memory = one->total ? (unsigned int)(100 * one->used / one->total) : 0;
    return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t one, unsigned int *out) {
    nvmlReturn_t state = ready(one);
    if (state != SUCCESS) return state;
    *out = one->power;
    return one->measures >= 1 ? SUCCESS : ERROR_NOT_SUPPORTED;
}

nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t one, unsigned long long *out) {
    nvmlReturn_t state = ready(one);
    if (state != SUCCESS) return state;
    *out = one->energy;
    return one->measures >= 2 ? SUCCESS : ERROR_NOT_SUPPORTED;
}

nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t one, unsigned int kind, unsigned int counter, unsigned long long *out) {
    (void)kind; (void)counter;
    nvmlReturn_t state = ready(one);
    if (state != SUCCESS) return state;
    *out = one->ecc;
    return one->measures >= 3 ? SUCCESS : ERROR_NOT_SUPPORTED;
}

nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t one, unsigned int sensor, unsigned int *out) {
    (void)sensor;
    nvmlReturn_t state = ready(one);
    if (state != SUCCESS) return state;
    *out = one->degrees;
    return one->measures >= 5 ? SUCCESS : ERROR_NOT_SUPPORTED;
}

nvmlReturn_t nvmlDeviceGetCurrentClocksEventReasons(nvmlDevice_t one, unsigned long long *out) {
    nvmlReturn_t state = ready(one);
    if (state != SUCCESS) return state;
    *out = one->reasons;
    return one->measures >= 6 ? SUCCESS : ERROR_NOT_SUPPORTED;
}

nvmlReturn_t nvmlDeviceGetP2PStatus(nvmlDevice_t one, nvmlDevice_t other, int kind, int *out) {
    if (one->measures < 7 || other->measures < 7) return ERROR_NOT_SUPPORTED;
    *out = kind == 2 && one->links == other->links ? 0 : 5; /* OK, or not supported */
    return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetTopologyCommonAncestor(nvmlDevice_t one, nvmlDevice_t other, int *out) {
    if (one->measures < 7 || other->measures < 7) return ERROR_NOT_SUPPORTED;
    *out = one->links / 10 == other->links / 10 ? 10 : 50; /* one switch, or different processors */
    return SUCCESS;
}

nvmlReturn_t nvmlEventSetCreate(void **out) { *out = &reported; return SUCCESS; }
nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t one, unsigned long long types, void *set) { (void)types; (void)set; return ready(one); }

nvmlReturn_t nvmlEventSetWait_v2(void *set, nvmlEventData_t *out, unsigned int timeout) {
    (void)set; (void)timeout;
    look();
    for (unsigned int index = 0; index < count; index++) {
        if (devices[index].xid == reported[index]) continue;
        reported[index] = devices[index].xid;
        if (!reported[index]) continue;
        memset(out, 0, sizeof *out);
        out->device = &devices[index]; out->type = 8; out->data = reported[index];
        return SUCCESS;
    }
    return ERROR_TIMEOUT;
}

nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t one, int *major, int *minor) { (void)one; *major = 9; *minor = 0; return SUCCESS; }

nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t one, unsigned int *current, unsigned int *pending) {
    *current = *pending = strcmp(one->state, "mig") == 0;
    return *current ? SUCCESS : ERROR_NOT_SUPPORTED;
}

nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t one, unsigned int *out) { (void)one; *out = 7; return SUCCESS; }

nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t one, unsigned int index, nvmlDevice_t *out) {
    *out = one + 1 + index;
    return *out < devices + count && card_of(*out) == one ? SUCCESS : ERROR_NOT_FOUND;
}

nvmlReturn_t nvmlDeviceGetDeviceHandleFromMigDeviceHandle(nvmlDevice_t one, nvmlDevice_t *out) { *out = card_of(one); return SUCCESS; }
nvmlReturn_t nvmlDeviceGetGpuInstanceId(nvmlDevice_t one, unsigned int *out) { *out = (unsigned int)(one - card_of(one)); return SUCCESS; }

nvmlReturn_t nvmlGpmQueryDeviceSupport(nvmlDevice_t one, nvmlGpmSupport_t *out) { (void)one; out->number = 1; return SUCCESS; }
nvmlReturn_t nvmlGpmSampleAlloc(struct sample **out) { *out = calloc(1, sizeof **out); return SUCCESS; }
nvmlReturn_t nvmlGpmSampleFree(struct sample *one) { free(one); return SUCCESS; }

nvmlReturn_t nvmlGpmMigSampleGet(nvmlDevice_t one, unsigned int instance, struct sample *out) {
    nvmlReturn_t state = ready(one);
    if (state != SUCCESS) return state;
    if (strcmp(one[instance].state, "blind") == 0) return ERROR_NOT_SUPPORTED;
    out->busy = one[instance].busy;
    return SUCCESS;
}

nvmlReturn_t nvmlGpmMetricsGet(nvmlGpmMetricsGet_t *asked) {
    if (asked->version != 1 || asked->number != 1 || asked->metrics[0].id != 1) return ERROR_INVALID_ARGUMENT;
    asked->metrics[0].result = SUCCESS;
    asked->metrics[0].value = (asked->first->busy + asked->second->busy) / 2.0;
    return SUCCESS;
}

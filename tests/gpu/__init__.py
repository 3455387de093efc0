"""What only a GPU can prove, as a program: `make test-gpu`. It needs no service and no database."""

/*
 * Loaded before PyTorch (LD_PRELOAD), lets its MKL see one of AMD's CPUs, whatever it runs on: the three questions by
 * which MKL chooses its kernels are answered here. For judging on Intel's CPUs what was recorded on AMD's.
 */
int mkl_serv_intel_cpu_true(void);
int mkl_serv_intel_cpu(void);
int mkl_serv_cpuiszen(void);

int mkl_serv_intel_cpu_true(void) {
    return 0;
}

int mkl_serv_intel_cpu(void) {
    return 0;
}

int mkl_serv_cpuiszen(void) {
    return 1;
}

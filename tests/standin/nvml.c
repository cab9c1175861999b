/* Stands in for libnvidia-ml.so.1. NVML_STANDIN says how it behaves:
 *
 *   cards        an RTX 4090, and an RTX 3060 whose name is not UTF-8
 *   mig          an A100 with two instances
 *   unified      a GB10: memory is not supported, the addressing mode is ATS
 *   zero         a GPU that says it has no memory at all
 *   hopper       addresses main memory as its own (ATS), and has memory of its own
 *   lost         two cards, of which the second has fallen off the bus
 *   many         more cards than any machine has
 *   denied       every question about a card is refused
 *   garbage      prints to stdout before, while and after it is asked
 *   error N      does not start, with return code N
 *   abort, segv, hang   when it is started
 *   exit         crashes when its process ends
 *
 * Compiled with -DOLD it lacks the calls that came after 2020. Declares what it needs of the C library itself, so
 * that a compiler is enough.
 */

extern char *getenv(const char *name);
extern int atoi(const char *text);
extern int strcmp(const char *a, const char *b);
extern int strncmp(const char *a, const char *b, unsigned long size);
extern char *strcpy(char *to, const char *from);
extern int sprintf(char *to, const char *format, ...);
extern long write(int file, const void *data, unsigned long size);
extern unsigned int sleep(unsigned int seconds);
extern void abort(void);

enum { SUCCESS = 0, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6, GPU_LOST = 15 };

typedef struct { int index, instance; } Device; /* instance 0 is the whole card */
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned int version; unsigned long long total, reserved, free, used; } MemoryV2;
typedef struct {
    char legacy[16];
    unsigned int domain, bus, device, device_id, subsystem_id;
    char address[32];
} PciInfo;
typedef struct { unsigned int version, value; } AddressingMode;

static Device devices[3][3] = {{{0, 0}, {0, 1}, {0, 2}}, {{1, 0}, {1, 1}, {1, 2}}, {{2, 0}, {2, 1}, {2, 2}}};

static const char *mode(void) {
    const char *text = getenv("NVML_STANDIN");
    return text ? text : "cards";
}

static int is(const char *name) { return strcmp(mode(), name) == 0; }

static void chatter(void) {
    static const char text[] = "{\"driver\": \"0\"}\n<html>\n";
    if (is("garbage")) write(1, text, sizeof text - 1);
}

static int start(void) {
    chatter();
    if (is("abort")) abort();
    if (is("segv")) *(volatile int *)8 = 0;
    while (is("hang")) sleep(1);
    return strncmp(mode(), "error ", 6) == 0 ? atoi(mode() + 6) : SUCCESS;
}

int nvmlInit_v2(void) { return start(); }
int nvmlInitWithFlags(unsigned int flags) { (void)flags; return start(); }

#ifdef __GNUC__
__attribute__((destructor)) static void end(void) { chatter(); if (is("exit")) abort(); }
#endif

int nvmlSystemGetDriverVersion(char *text, unsigned int size) {
    (void)size;
    chatter();
    strcpy(text, "570.133.07");
    return SUCCESS;
}

int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 12080; return SUCCESS; }

int nvmlDeviceGetCount_v2(unsigned int *count) {
    *count = is("many") ? 4000000000u : is("cards") || is("lost") || is("garbage") ? 2 : 1;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, Device **device) {
    if (is("lost") && index == 1) return GPU_LOST;
    *device = &devices[index < 2 ? index : 2][0];
    return SUCCESS;
}

int nvmlDeviceGetName(Device *device, char *name, unsigned int size) {
    (void)size;
    if (is("denied")) return NO_PERMISSION;
    if (device->instance) strcpy(name, device->instance == 1 ? "NVIDIA A100-SXM4-40GB MIG 3g.20gb" : "MIG 1g.5gb");
    else if (device->index) strcpy(name, "NVIDIA GeForce RTX 3060 \xff");
    else strcpy(name, is("mig") ? "NVIDIA A100-SXM4-40GB" : is("unified") ? "NVIDIA GB10" : "NVIDIA GeForce RTX 4090");
    return SUCCESS;
}

int nvmlDeviceGetUUID(Device *device, char *uuid, unsigned int size) {
    (void)size;
    if (is("denied")) return NO_PERMISSION;
    sprintf(uuid, "%s-%08d-0000-0000-0000-000000000001", device->instance ? "MIG" : "GPU",
            device->index * 10 + device->instance);
    return SUCCESS;
}

int nvmlDeviceGetPciInfo_v3(Device *device, PciInfo *info) {
    if (is("denied")) return NO_PERMISSION;
    sprintf(info->address, "00000000:%02X:00.0", device->index * 0x20 + 0x0A);
    return SUCCESS;
}

int nvmlDeviceGetCudaComputeCapability(Device *device, int *major, int *minor) {
    if (is("denied")) return NO_PERMISSION;
    *major = 8;
    *minor = device->index ? 6 : 9;
    return SUCCESS;
}

static int memory(Device *device, unsigned long long *total, unsigned long long *free) {
    if (is("unified")) return NOT_SUPPORTED;
    if (is("denied")) return NO_PERMISSION;
    *total = is("zero") ? 0 : (24564ull << 20) >> device->instance;
    *free = *total ? *total - (1ull << 30) : 0;
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(Device *device, Memory *info) { return memory(device, &info->total, &info->free); }

#ifndef OLD
int nvmlDeviceGetMemoryInfo_v2(Device *device, MemoryV2 *info) { return memory(device, &info->total, &info->free); }

int nvmlDeviceGetMigMode(Device *device, unsigned int *current, unsigned int *pending) {
    (void)device;
    *current = *pending = is("mig");
    return is("mig") || is("cards") ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetMaxMigDeviceCount(Device *device, unsigned int *count) { (void)device; *count = 7; return SUCCESS; }

int nvmlDeviceGetMigDeviceHandleByIndex(Device *device, unsigned int index, Device **instance) {
    if (index >= 2) return NOT_FOUND;
    *instance = &devices[device->index][index + 1];
    return SUCCESS;
}

int nvmlDeviceGetAddressingMode(Device *device, AddressingMode *mode) {
    (void)device;
    mode->value = is("unified") || is("hopper") ? 2 : 0;
    return SUCCESS;
}
#endif

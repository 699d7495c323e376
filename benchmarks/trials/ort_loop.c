/* The smallest loop on ONNX Runtime's C API that times what our runner times. As a shared library
   it lends `prepare` and `run_one` to `c_api_engine.py`, which has the runner time the same calls.

   ort_loop LIBRARY MODEL INPUT OUTPUT FEEDS.bin FEEDS OUTPUTS.bin OUTPUT_SIZE DIM...

   One float32 input of shape DIM..., FEEDS of them one after the other in FEEDS.bin; one float32
   output of OUTPUT_SIZE elements, written to OUTPUTS.bin for each feed. It then prints the version
   of the library, and answers each line "UNCOUNTED COUNT" on standard input with one line of COUNT
   nanoseconds. Options, bindings and clock are those of the runner.

   There is no header of ONNX Runtime here: Python wheels have the library without it, Debian has no
   package, and to fetch 150 MB of somebody's Android build for one file would be too much. The API
   is a struct of functions that is only ever appended to, so the few members that are needed stand
   at fixed places, written down below. Whoever starts this compares the version and the outputs. */

#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define API_VERSION 11 /* the first in which all of these are old; newer libraries still serve it */

typedef void Status, Env, Options, Session, Memory, Value, Binding, Allocator, RunOptions;

typedef struct {
    void *before2[2];
    const char *(*GetErrorMessage)(const Status *);
    Status *(*CreateEnv)(int level, const char *name, Env **);
    void *before7[3];
    Status *(*CreateSession)(const Env *, const char *path, const Options *, Session **);
    void *before10[2];
    Status *(*CreateSessionOptions)(Options **);
    void *before13[2];
    Status *(*SetSessionExecutionMode)(Options *, int);
    void *before22[8];
    Status *(*SetSessionLogSeverityLevel)(Options *, int);
    Status *(*SetSessionGraphOptimizationLevel)(Options *, int);
    Status *(*SetIntraOpNumThreads)(Options *, int);
    Status *(*SetInterOpNumThreads)(Options *, int);
    void *before49[23];
    Status *(*CreateTensorWithDataAsOrtValue)(const Memory *, void *, size_t bytes,
                                              const int64_t *shape, size_t axes, int type, Value **);
    void *before51[1];
    Status *(*GetTensorMutableData)(Value *, void **);
    void *before69[17];
    Status *(*CreateCpuMemoryInfo)(int allocator, int memory, Memory **);
    void *before78[8];
    Status *(*GetAllocatorWithDefaultOptions)(Allocator **);
    void *before133[54];
    Status *(*RunWithBinding)(Session *, const RunOptions *, const Binding *);
    Status *(*CreateIoBinding)(Session *, Binding **);
    void *before136[1];
    Status *(*BindInput)(Binding *, const char *name, const Value *);
    void *before138[1];
    Status *(*BindOutputToDevice)(Binding *, const char *name, const Memory *);
    void *before140[1];
    Status *(*GetBoundOutputValues)(const Binding *, Allocator *, Value ***, size_t *count);
} Api;

#define AT(member, place) \
    _Static_assert(offsetof(Api, member) == (place) * sizeof(void *), #member)
AT(CreateSession, 7);
AT(SetInterOpNumThreads, 25);
AT(GetTensorMutableData, 51);
AT(CreateCpuMemoryInfo, 69);
AT(GetAllocatorWithDefaultOptions, 78);
AT(RunWithBinding, 133);
AT(GetBoundOutputValues, 140);

typedef struct {
    const Api *(*GetApi)(uint32_t version);
    const char *(*GetVersionString)(void);
} ApiBase;

enum { SEQUENTIAL = 0, OPTIMISE_ALL = 99, SEVERITY_ERROR = 3, FLOAT32 = 1, ARENA = 1, DEFAULT = 0 };
enum { MOST_AXES = 8, MOST_CALLS = 1000000 };

static const ApiBase *(*base)(void);
static const Api *api;
static Session *session;
static Binding **bindings; /* one per feed */
static long feeds;
static int64_t times[MOST_CALLS];

static void die(const char *why) {
    fprintf(stderr, "%s\n", why);
    exit(1);
}

static void check(Status *status) {
    if (status) die(api->GetErrorMessage(status));
}

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

void run_one(long feed) { check(api->RunWithBinding(session, NULL, bindings[feed])); }

static Session *open_session(const char *model) {
    Env *env;
    Options *options;
    Session *opened;
    check(api->CreateEnv(SEVERITY_ERROR, "ort_loop", &env));
    check(api->CreateSessionOptions(&options));
    check(api->SetIntraOpNumThreads(options, 1));
    check(api->SetInterOpNumThreads(options, 1));
    check(api->SetSessionExecutionMode(options, SEQUENTIAL));
    check(api->SetSessionGraphOptimizationLevel(options, OPTIMISE_ALL));
    check(api->SetSessionLogSeverityLevel(options, SEVERITY_ERROR));
    check(api->CreateSession(env, model, options, &opened));
    return opened;
}

/* What the runner's `_bound` does: the input where it lies, the output in the runtime's memory. */
static Binding *bind(char **names, float *data, size_t bytes, const int64_t *shape, size_t axes) {
    Memory *memory;
    Value *input;
    Binding *binding;
    check(api->CreateCpuMemoryInfo(ARENA, DEFAULT, &memory));
    check(api->CreateTensorWithDataAsOrtValue(memory, data, bytes, shape, axes, FLOAT32, &input));
    check(api->CreateIoBinding(session, &binding));
    check(api->BindInput(binding, names[0], input));
    check(api->BindOutputToDevice(binding, names[1], memory));
    return binding;
}

static void write_output(const Binding *binding, size_t size, FILE *file) {
    Allocator *allocator;
    Value **values;
    size_t count;
    void *data;
    check(api->GetAllocatorWithDefaultOptions(&allocator));
    check(api->GetBoundOutputValues(binding, allocator, &values, &count));
    check(api->GetTensorMutableData(values[0], &data));
    if (fwrite(data, sizeof(float), size, file) != size) die("the outputs cannot be written");
}

/* Reads the arguments, opens the session and runs each feed once. */
void prepare(int count, char **words) {
    if (count < 10 || count > 9 + MOST_AXES) die("see the head of ort_loop.c for the arguments");
    void *library = dlopen(words[1], RTLD_NOW);
    if (!library) die(dlerror());
    *(void **)&base = dlsym(library, "OrtGetApiBase"); /* as POSIX writes it */
    if (!base || !(api = base()->GetApi(API_VERSION))) die("the library does not serve this API");
    int64_t shape[MOST_AXES];
    size_t axes = 0, size = 1, output_size = (size_t)atol(words[8]);
    feeds = atol(words[6]);
    for (int i = 9; i < count; i++) size *= (size_t)(shape[axes++] = atol(words[i]));

    float *data = aligned_alloc(64, (size * (size_t)feeds * sizeof(float) + 63) / 64 * 64);
    FILE *file = fopen(words[5], "rb");
    if (!file || fread(data, sizeof(float) * size, (size_t)feeds, file) != (size_t)feeds)
        die("the feeds cannot be read");
    fclose(file);

    session = open_session(words[2]);
    bindings = calloc((size_t)feeds, sizeof(*bindings));
    if (!(file = fopen(words[7], "wb"))) die("the outputs cannot be written");
    for (long i = 0; i < feeds; i++) {
        bindings[i] = bind(words + 3, data + size * (size_t)i, size * sizeof(float), shape, axes);
        run_one(i);
        write_output(bindings[i], output_size, file);
    }
    fclose(file);
}

int main(int count, char **words) {
    long uncounted, counted, turn = 0;
    prepare(count, words);
    printf("\"%s\"\n", base()->GetVersionString());
    fflush(stdout);
    while (scanf("%ld %ld", &uncounted, &counted) == 2) {
        if (counted > MOST_CALLS) die("too many calls at once");
        for (long i = 0; i < uncounted; i++) run_one((turn + i) % feeds);
        for (long i = 0; i < counted; i++) {
            long feed = (turn + i) % feeds;
            int64_t start = now();
            run_one(feed);
            times[i] = now() - start;
        }
        turn = (turn + counted) % feeds;
        for (long i = 0; i < counted; i++) printf("%s%lld", i ? "," : "[", (long long)times[i]);
        printf("]\n");
        fflush(stdout);
    }
    return 0;
}

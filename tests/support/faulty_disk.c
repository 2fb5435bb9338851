/* A disk that fails, and a clock that is set: preloaded into the program under test.
 *
 * Calls that change what is under a folder are caught by a seccomp filter, and not by their names
 * in a library, so that none escapes which a program makes by itself. Each is counted, told to a
 * log, and let through, changed, or refused:
 *
 *   FAULT_FOLDER   calls on what is under this folder, an absolute path, count
 *   FAULT_LOG      a line for each: its number, name, bytes, what it gave, and its file
 *   FAULT_AT       the number of the call with the fault, from 1 on; 0 for none
 *   FAULT_ERRNO    what it fails with
 *   FAULT_KIND     once   the call fails
 *                  named  every call that is called FAULT_CALL fails
 *                  full   from this call on nothing that takes room is done
 *                  dead   from this call on nothing is done
 *                  short  half of its bytes are written, and it says so
 *                  torn   the same, and every later one that takes room fails
 *                  slow   from this call on each waits FAULT_WAIT_MS, or each that is called
 *                         FAULT_CALL; a line with "waits" tells of it before
 *   CLOCK_AT       from this call on ...
 *   CLOCK_STEP_S   ... the host's clock of the day is so many seconds further, or back
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef __x86_64__
#error "the registers of a call are known for x86-64"
#endif

/* In the sixth argument, which none of these calls has: it is our own, and is let through. */
#define OURS 0x6b6c6b67

enum what { BYTES, VECTOR, RESIZE, SYNC, ROOM, NAME, HINT };

static const struct call {
    int number;
    const char *name;
    enum what what;
    int path; /* which argument, where it is none of an open file */
} calls[] = {
    {SYS_write, "write", BYTES, -1},
    {SYS_pwrite64, "pwrite64", BYTES, -1},
    {SYS_writev, "writev", VECTOR, -1},
    {SYS_pwritev, "pwritev", VECTOR, -1},
    {SYS_ftruncate, "ftruncate", RESIZE, -1},
    {SYS_fsync, "fsync", SYNC, -1},
    {SYS_fdatasync, "fdatasync", SYNC, -1},
    {SYS_fallocate, "fallocate", ROOM, -1},
    {SYS_sync_file_range, "sync_file_range", HINT, -1},
    {SYS_openat, "openat", NAME, 1},
    {SYS_mkdir, "mkdir", NAME, 0},
    {SYS_rename, "rename", NAME, 1},
    {SYS_renameat2, "renameat2", NAME, 3},
    {SYS_linkat, "linkat", NAME, 3},
};
#define CALLS (sizeof calls / sizeof *calls)

static char folder[4096], kind[16], named[32];
static long fault_at, fault_errno, wait_ms, clock_at, clock_step_s;
static int log_fd = -1;
static long counted;
static int (*real_clock)(clockid_t, struct timespec *);

static long number_of(const char *variable) {
    const char *text = getenv(variable);
    return text ? atol(text) : 0;
}

static long kernel(long number, const long *a) {
    long result = syscall(number, a[0], a[1], a[2], a[3], a[4], (long)OURS);
    return result < 0 ? -errno : result;
}

/* Whether a call is on something under the folder; its path comes to `path`. */
static int is_under(const struct call *call, const long *a, char *path, size_t room) {
    if (call->path >= 0) {
        snprintf(path, room, "%s", (const char *)a[call->path]);
    } else {
        char name[64];
        snprintf(name, sizeof name, "/proc/self/fd/%ld", a[0]);
        ssize_t len = readlink(name, path, room - 1);
        path[len < 0 ? 0 : len] = 0;
    }
    size_t len = strlen(folder);
    return len > 0 && strncmp(path, folder, len) == 0 && (path[len] == '/' || path[len] == 0);
}

static void tell(long at, const char *name, long bytes, long result, const char *path) {
    char line[4400];
    int len = snprintf(line, sizeof line, "%ld %s %ld %ld %s\n", at, name, bytes, result, path);
    const long log[6] = {log_fd, (long)line, len};
    if (log_fd >= 0) kernel(SYS_write, log);
}

static long bytes_of(const struct call *call, const long *a) {
    if (call->what == BYTES) return a[2];
    long total = 0;
    const struct iovec *pieces = (const struct iovec *)a[1];
    for (long i = 0; call->what == VECTOR && i < a[2]; i++) total += pieces[i].iov_len;
    return total;
}

/* Writes half of what is asked for. */
static long half(const struct call *call, const long *a) {
    long b[6], left = bytes_of(call, a) / 2;
    memcpy(b, a, sizeof b);
    struct iovec pieces[1024];
    if (left == 0) return kernel(call->number, a);
    if (call->what == BYTES) {
        b[2] = left;
        return kernel(call->number, b);
    }
    const struct iovec *all = (const struct iovec *)a[1];
    long used = 0;
    for (; left > 0 && used < 1024; used++) {
        pieces[used] = all[used];
        if ((long)pieces[used].iov_len > left) pieces[used].iov_len = left;
        left -= pieces[used].iov_len;
    }
    b[1] = (long)pieces, b[2] = used;
    return kernel(call->number, b);
}

static long with_fault(const struct call *call, const long *a, long at, const char *path) {
    int here = fault_at > 0 && at == fault_at, after = fault_at > 0 && at >= fault_at;
    int takes_room = call->what == BYTES || call->what == VECTOR || call->what == ROOM ||
                     call->what == NAME;
    int has_bytes = call->what == BYTES || call->what == VECTOR;
    if (!strcmp(kind, "once") && here) return -fault_errno;
    if (!strcmp(kind, "named") && !strcmp(call->name, named)) return -fault_errno;
    if (!strcmp(kind, "full") && after && takes_room) return -fault_errno;
    if (!strcmp(kind, "dead") && after) return -fault_errno;
    if (!strcmp(kind, "short") && here && has_bytes) return half(call, a);
    if (!strcmp(kind, "torn") && here && has_bytes) return half(call, a);
    if (!strcmp(kind, "torn") && at > fault_at && takes_room) return -fault_errno;
    if (!strcmp(kind, "slow") && after && (!*named || !strcmp(call->name, named))) {
        struct timespec wait = {wait_ms / 1000, wait_ms % 1000 * 1000000};
        tell(at, "waits", 0, 0, path);
        while (nanosleep(&wait, &wait) != 0 && errno == EINTR) {}
    }
    return kernel(call->number, a);
}

static void caught(int signal, siginfo_t *info, void *context) {
    (void)signal;
    int kept = errno;
    greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
    const long a[6] = {r[REG_RDI], r[REG_RSI], r[REG_RDX], r[REG_R10], r[REG_R8], r[REG_R9]};
    const struct call *call = calls;
    while (call < calls + CALLS - 1 && call->number != info->si_syscall) call++;
    char path[4096];
    long result;
    if (is_under(call, a, path, sizeof path)) {
        long at = __atomic_add_fetch(&counted, 1, __ATOMIC_SEQ_CST);
        result = with_fault(call, a, at, path);
        tell(at, call->name, bytes_of(call, a), result, path);
    } else {
        result = kernel(call->number, a);
    }
    r[REG_RAX] = result;
    errno = kept;
}

static void filter(void) {
#define FIELD(field) (offsetof(struct seccomp_data, field))
    struct sock_filter program[CALLS + 16];
    unsigned short n = 0;
    program[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FIELD(arch));
    program[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
    program[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    program[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FIELD(nr));
    program[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 2);
    /* Opening what is there changes nothing. */
    program[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FIELD(args[2]));
    program[n++] =
        (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_CREAT, CALLS + 1, CALLS);
    for (size_t i = 0; i < CALLS; i++) {
        /* To the test below the list. */
        unsigned char jump = CALLS - i;
        program[n++] =
            (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i].number, jump, 0);
    }
    program[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    program[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FIELD(args[5]));
    program[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OURS, 0, 1);
    program[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    program[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
    struct sock_fprog all = {n, program};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &all)) {
        perror("faulty_disk");
        _exit(125);
    }
}

__attribute__((constructor)) static void begin(void) {
    real_clock = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    const char *log = getenv("FAULT_LOG"), *under = getenv("FAULT_FOLDER");
    const char *how = getenv("FAULT_KIND"), *call = getenv("FAULT_CALL");
    snprintf(folder, sizeof folder, "%s", under ? under : "");
    snprintf(kind, sizeof kind, "%s", how ? how : "");
    snprintf(named, sizeof named, "%s", call ? call : "");
    fault_at = number_of("FAULT_AT"), fault_errno = number_of("FAULT_ERRNO");
    wait_ms = number_of("FAULT_WAIT_MS");
    clock_at = number_of("CLOCK_AT"), clock_step_s = number_of("CLOCK_STEP_S");
    if (log) log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    struct sigaction action = {.sa_sigaction = caught, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSYS, &action, NULL);
    filter();
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = real_clock ? real_clock(clock, time)
                            : (int)syscall(SYS_clock_gettime, clock, time);
    int moved = clock_at > 0 && __atomic_load_n(&counted, __ATOMIC_SEQ_CST) >= clock_at;
    if (result == 0 && clock == CLOCK_REALTIME && moved) time->tv_sec += clock_step_s;
    return result;
}

/* Records what a process does to the files below one directory, so that tests/durability/disk.py can rebuild the disk
 * as a power cut at any instant would leave it.
 *
 *   LD_PRELOAD=recorder.so RECORDER_ROOT=/dir RECORDER_LOG=/file RECORDER_SYNC_US=1000 program
 *
 * One record an operation, appended by one writev to a file opened with O_APPEND: records of several threads and
 * processes stay whole and in order, and a program appends its own marks in the same form. Writes are recorded with
 * their data. A sync is recorded when it has returned, and lasts RECORDER_SYNC_US longer than the disk takes, so that a
 * confirm that does not wait for it is seen before it. Shared memory (SQLite's -shm) is mapped, and so not recorded:
 * it does not survive a power cut either.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CREATE = 1, WRITE, TRUNCATE, SYNC, SYNC_DIRECTORY, UNLINK, RENAME, MAKE_DIRECTORY };

struct header {
    uint32_t kind, name_bytes;
    uint64_t inode, offset, data_bytes;
};

#define DESCRIPTORS 65536
static uint64_t inode_of[DESCRIPTORS]; /* of the files below the root that are open, else 0 */
static char *directory_of[DESCRIPTORS];
static char root[PATH_MAX];
static size_t root_bytes;
static int log_descriptor = -1;
static useconds_t sync_us;

__attribute__((constructor)) static void start(void) {
    const char *directory = getenv("RECORDER_ROOT"), *log = getenv("RECORDER_LOG"), *delay = getenv("RECORDER_SYNC_US");
    if (directory == NULL || log == NULL || realpath(directory, root) == NULL) return;
    root_bytes = strlen(root);
    sync_us = delay ? (useconds_t)atoi(delay) : 0;
    log_descriptor = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

static void record(uint32_t kind, const char *name, uint64_t inode, uint64_t offset, const void *data, size_t size) {
    struct header header = {kind, name ? (uint32_t)strlen(name) : 0, inode, offset, size};
    struct iovec parts[] = {
        {&header, sizeof header}, {(void *)name, header.name_bytes}, {(void *)data, data ? size : 0}};
    if (data == NULL) header.data_bytes = 0;
    size_t whole = sizeof header + header.name_bytes + header.data_bytes;
    if (syscall(SYS_writev, log_descriptor, parts, 3) != (long)whole) {
        fprintf(stderr, "recorder: the log cannot be written\n");
        _exit(70);
    }
}

/* The path below the root, or NULL for one that lies elsewhere. */
static const char *inside(int directory, const char *path, char *space) {
    if (log_descriptor < 0 || path == NULL) return NULL;
    if (path[0] == '/') {
        snprintf(space, PATH_MAX, "%s", path);
    } else {
        char link[64], base[PATH_MAX];
        if (directory == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
        else snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
        ssize_t size = readlink(link, base, sizeof base - 1);
        if (size < 0) return NULL;
        base[size] = 0;
        if (snprintf(space, PATH_MAX, "%s/%s", base, path) >= PATH_MAX) return NULL;
    }
    if (strncmp(space, root, root_bytes) != 0) return NULL;
    if (space[root_bytes] == 0) return "";
    return space[root_bytes] == '/' ? space + root_bytes + 1 : NULL;
}

static uint64_t inode_at(const char *path) {
    struct stat status;
    return lstat(path, &status) == 0 ? status.st_ino : 0;
}

static int tracked(int descriptor) {
    return descriptor >= 0 && descriptor < DESCRIPTORS && inode_of[descriptor] != 0;
}

static int open_file(int directory, const char *path, int flags, mode_t mode) {
    char space[PATH_MAX];
    const char *name = inside(directory, path, space);
    int existed = name != NULL && inode_at(space) != 0;
    int descriptor = (int)syscall(SYS_openat, directory, path, flags, mode);
    struct stat status;
    if (name == NULL || descriptor < 0 || descriptor >= DESCRIPTORS || fstat(descriptor, &status) != 0)
        return descriptor;
    inode_of[descriptor] = status.st_ino;
    free(directory_of[descriptor]);
    directory_of[descriptor] = S_ISDIR(status.st_mode) ? strdup(name) : NULL;
    if (!existed) record(CREATE, name, status.st_ino, 0, NULL, 0);
    else if (flags & O_TRUNC) record(TRUNCATE, NULL, status.st_ino, 0, NULL, 0);
    return descriptor;
}

#define OPEN(call, base)                                                                                               \
    va_list rest;                                                                                                      \
    va_start(rest, flags);                                                                                             \
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, mode_t) : 0;                                          \
    va_end(rest);                                                                                                      \
    return open_file(base, path, flags, mode)

int open(const char *path, int flags, ...) { OPEN(open, AT_FDCWD); }
int open64(const char *path, int flags, ...) { OPEN(open64, AT_FDCWD); }
int openat(int base, const char *path, int flags, ...) { OPEN(openat, base); }
int openat64(int base, const char *path, int flags, ...) { OPEN(openat64, base); }

int close(int descriptor) {
    if (tracked(descriptor)) inode_of[descriptor] = 0;
    return (int)syscall(SYS_close, descriptor);
}

ssize_t write(int descriptor, const void *data, size_t size) {
    ssize_t written = syscall(SYS_write, descriptor, data, size);
    if (written > 0 && tracked(descriptor))
        record(WRITE, NULL, inode_of[descriptor], (uint64_t)lseek(descriptor, 0, SEEK_CUR) - written, data, written);
    return written;
}

ssize_t pwrite64(int descriptor, const void *data, size_t size, off64_t offset) {
    ssize_t written = syscall(SYS_pwrite64, descriptor, data, size, offset);
    if (written > 0 && tracked(descriptor)) record(WRITE, NULL, inode_of[descriptor], offset, data, written);
    return written;
}

ssize_t pwrite(int descriptor, const void *data, size_t size, off_t offset) {
    return pwrite64(descriptor, data, size, offset);
}

/* How Python copies files. */
ssize_t sendfile64(int target, int source, off64_t *offset, size_t size) {
    ssize_t sent = syscall(SYS_sendfile, target, source, offset, size);
    if (sent > 0 && tracked(target)) {
        char *copy = malloc((size_t)sent);
        off_t start = (off_t)(lseek(target, 0, SEEK_CUR) - sent);
        char path[64];
        snprintf(path, sizeof path, "/proc/self/fd/%d", target);
        int again = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
        if (copy != NULL && pread(again, copy, (size_t)sent, start) == sent)
            record(WRITE, NULL, inode_of[target], (uint64_t)start, copy, (size_t)sent);
        syscall(SYS_close, again);
        free(copy);
    }
    return sent;
}

ssize_t sendfile(int target, int source, off_t *offset, size_t size) {
    return sendfile64(target, source, offset, size);
}

static int sync_file(long call, int descriptor) {
    if (tracked(descriptor) && sync_us) usleep(sync_us);
    int result = (int)syscall(call, descriptor);
    if (result == 0 && tracked(descriptor)) {
        const char *directory = directory_of[descriptor];
        record(directory ? SYNC_DIRECTORY : SYNC, directory, inode_of[descriptor], 0, NULL, 0);
    }
    return result;
}

int fsync(int descriptor) { return sync_file(SYS_fsync, descriptor); }
int fdatasync(int descriptor) { return sync_file(SYS_fdatasync, descriptor); }

int ftruncate64(int descriptor, off64_t size) {
    int result = (int)syscall(SYS_ftruncate, descriptor, size);
    if (result == 0 && tracked(descriptor)) record(TRUNCATE, NULL, inode_of[descriptor], size, NULL, 0);
    return result;
}

int ftruncate(int descriptor, off_t size) { return ftruncate64(descriptor, size); }

int unlinkat(int base, const char *path, int flags) {
    char space[PATH_MAX];
    const char *name = inside(base, path, space);
    int result = (int)syscall(SYS_unlinkat, base, path, flags);
    if (result == 0 && name != NULL) record(UNLINK, name, 0, 0, NULL, 0);
    return result;
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int renameat(int from_base, const char *from, int to_base, const char *to) {
    char from_space[PATH_MAX], to_space[PATH_MAX];
    const char *old = inside(from_base, from, from_space), *new = inside(to_base, to, to_space);
    int result = (int)syscall(SYS_renameat2, from_base, from, to_base, to, 0);
    if (result == 0 && (old != NULL || new != NULL))
        record(RENAME, new ? new : "", 0, 0, old ? old : "", old ? strlen(old) : 0);
    return result;
}

int rename(const char *from, const char *to) { return renameat(AT_FDCWD, from, AT_FDCWD, to); }

int mkdirat(int base, const char *path, mode_t mode) {
    char space[PATH_MAX];
    const char *name = inside(base, path, space);
    int result = (int)syscall(SYS_mkdirat, base, path, mode);
    if (result == 0 && name != NULL) record(MAKE_DIRECTORY, name, inode_at(space), 0, NULL, 0);
    return result;
}

int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

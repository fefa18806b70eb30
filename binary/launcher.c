// The beginning of the single binary: unpacks what follows it, once for each build, and becomes it.
//
// Nothing is left running beside the program, so that signals, exit codes and memory are its own,
// and a second start finds everything there. The program runs with the C library that it brings,
// so this file is linked statically and the system needs none.
//
// The file is  launcher | index | zstd frame of all files' bytes | footer,  written by pack.py.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <zstd.h>

#define PREFIX "program-" // what is ours in a folder that others may use too
#define LOADER "ld-rerankd.so.2"
#define WRONG_SETUP 2 // the exit code of rerankd for what another start doesn't mend

struct footer {
    uint64_t index_at, index_bytes, packed_bytes, built;
    char build[16], magic[8];
};

// One entry of the index; its name and, for a link, its target follow, both with a zero at the end.
struct entry {
    uint64_t size; // bytes, or the length of a link's target
    uint16_t name_bytes;
    char kind; // d, f, x (a file to execute) or l
} __attribute__((packed));

struct image {
    const char *start;
    struct footer footer;
};

static _Noreturn void fail(const char *format, ...) {
    va_list words;
    va_start(words, format);
    fputs("error: ", stderr);
    vfprintf(stderr, format, words);
    fputc('\n', stderr);
    exit(WRONG_SETUP);
}

static _Noreturn void fail_damaged(void) { fail("my own file is damaged: copy or download it again"); }

// Write words into a buffer of PATH_MAX bytes; returns it.
static char *path_of(char *path, const char *format, ...) {
    va_list words;
    va_start(words, format);
    int length = vsnprintf(path, PATH_MAX, format, words);
    va_end(words);
    if (length < 0 || length >= PATH_MAX) fail("a path is too long: %s", path);
    return path;
}

static const char *own_path(void) {
    static char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
    if (length > 0) {
        path[length] = 0;
        return path;
    }
    const char *said = (const char *)getauxval(AT_EXECFN); // without /proc
    if (!said || !realpath(said, path)) fail("can't find my own file: %s", strerror(errno));
    return path;
}

static struct image open_image(const char *path) {
    struct image image;
    struct stat facts;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &facts)) fail("can't read %s: %s", path, strerror(errno));
    size_t size = (size_t)facts.st_size;
    image.start = mmap(NULL, size, PROT_READ, MAP_PRIVATE, file, 0);
    if (image.start == MAP_FAILED) fail("can't map %s: %s", path, strerror(errno));
    close(file);
    memcpy(&image.footer, image.start + size - sizeof(image.footer), sizeof(image.footer));
    const struct footer *footer = &image.footer;
    if (memcmp(footer->magic, "rerankd1", 8) ||
        footer->index_at + footer->index_bytes + footer->packed_bytes + sizeof(*footer) != size)
        fail("%s is not whole: copy or download it again", path);
    return image;
}

// Walk the index: sets `entry`, returns its name and moves `at`; NULL at the end.
static const char *next_entry(const struct image *image, uint64_t *at, struct entry *entry) {
    if (*at >= image->footer.index_bytes) return NULL;
    const char *here = image->start + image->footer.index_at + *at;
    memcpy(entry, here, sizeof(*entry));
    *at += sizeof(*entry) + entry->name_bytes + 1 + (entry->kind == 'l' ? entry->size + 1 : 0);
    return here + sizeof(*entry);
}

static mode_t mode_of(char kind) { return kind == 'd' || kind == 'x' ? 0700 : 0600; }

// Tell whether everything is there, as long as it should be: a cleaner of old files may have passed.
static int is_whole(const struct image *image, int folder) {
    struct entry entry;
    struct stat facts;
    const char *name;
    for (uint64_t at = 0; (name = next_entry(image, &at, &entry));) {
        if (fstatat(folder, name, &facts, AT_SYMLINK_NOFOLLOW)) return 0;
        mode_t kind = entry.kind == 'd' ? S_IFDIR : entry.kind == 'l' ? S_IFLNK : S_IFREG;
        if ((facts.st_mode & S_IFMT) != kind) return 0;
        if (entry.kind != 'd' && (uint64_t)facts.st_size != entry.size) return 0;
    }
    return 1;
}

struct source {
    ZSTD_DStream *stream;
    ZSTD_inBuffer input;
    size_t hint; // zstd's last answer: 0 at the frame's end
};

// Write the next `size` bytes of the frame into a file. Returns 0, or -1 with errno.
static int write_file(struct source *source, int folder, const char *name, const struct entry *entry) {
    static char buffer[1 << 17];
    int file = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode_of(entry->kind));
    if (file < 0) return -1;
    for (uint64_t left = entry->size; left;) {
        ZSTD_outBuffer output = {buffer, left < sizeof(buffer) ? left : sizeof(buffer), 0};
        source->hint = ZSTD_decompressStream(source->stream, &output, &source->input);
        if (ZSTD_isError(source->hint) || (!output.pos && source->input.pos == source->input.size)) {
            fail_damaged();
        }
        for (size_t done = 0; done < output.pos;) {
            ssize_t wrote = write(file, buffer + done, output.pos - done);
            if (wrote < 0 && errno == EINTR) continue;
            if (wrote < 0) {
                int reason = errno;
                close(file);
                errno = reason;
                return -1;
            }
            done += (size_t)wrote;
        }
        left -= output.pos;
    }
    return close(file);
}

// Read the frame's end, where zstd compares its checksum.
static void finish(struct source *source) {
    char nothing[1];
    ZSTD_outBuffer output = {nothing, 0, 0};
    while (source->hint) {
        size_t before = source->input.pos;
        source->hint = ZSTD_decompressStream(source->stream, &output, &source->input);
        if (ZSTD_isError(source->hint) || (source->hint && source->input.pos == before)) fail_damaged();
    }
}

static int write_entry(struct source *source, int folder, const char *name, const struct entry *entry,
                       uint64_t built) {
    if (entry->kind == 'd') return mkdirat(folder, name, 0700);
    if (entry->kind == 'l') return symlinkat(name + entry->name_bytes + 1, folder, name);
    if (write_file(source, folder, name, entry)) return -1;
    // The build's own time, so that scores kept for the embedded model outlive an unpacking.
    struct timespec times[2] = {{.tv_sec = (time_t)built}, {.tv_sec = (time_t)built}};
    return utimensat(folder, name, times, 0);
}

static int unpack(const struct image *image, int folder) {
    const struct footer *footer = &image->footer;
    struct source source = {.stream = ZSTD_createDStream(), .hint = 1};
    source.input.src = image->start + footer->index_at + footer->index_bytes;
    source.input.size = footer->packed_bytes;
    if (!source.stream) fail("no memory");
    struct entry entry;
    const char *name;
    int failed = 0;
    for (uint64_t at = 0; !failed && (name = next_entry(image, &at, &entry));)
        failed = write_entry(&source, folder, name, &entry, footer->built);
    int reason = errno;
    if (!failed) finish(&source);
    ZSTD_freeDStream(source.stream);
    errno = reason;
    return failed;
}

// Delete a folder and all in it, as far as that goes; links are not followed.
static void delete_all(int parent, const char *name) {
    int folder = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *list = folder < 0 ? NULL : fdopendir(folder);
    for (struct dirent *one; list && (one = readdir(list));) {
        if (!strcmp(one->d_name, ".") || !strcmp(one->d_name, "..")) continue;
        if (unlinkat(folder, one->d_name, 0)) delete_all(folder, one->d_name);
    }
    if (list) closedir(list);
    unlinkat(parent, name, AT_REMOVEDIR);
}

// Delete other builds' folders, and half ones of starts that were killed: those nobody runs from.
static void delete_unused(int base, const char *ours) {
    int again = openat(base, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = again < 0 ? NULL : fdopendir(again);
    for (struct dirent *one; list && (one = readdir(list));) {
        if (strncmp(one->d_name, PREFIX, strlen(PREFIX)) || !strcmp(one->d_name, ours)) continue;
        int folder = openat(base, one->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (folder < 0) continue;
        if (!flock(folder, LOCK_EX | LOCK_NB)) delete_all(base, one->d_name);
        close(folder);
    }
    if (list) closedir(list);
}

// Open a folder and keep it locked for as long as this process lives, whatever it becomes: without
// O_CLOEXEC. Python closes it in the programs that it starts.
static int open_locked(int base, const char *name) {
    int folder = openat(base, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (folder >= 0 && flock(folder, LOCK_SH) && errno != ENOLCK && errno != ENOTSUP) {
        close(folder);
        return -1;
    }
    return folder;
}

// Return the locked folder of this build below `base`, unpacked if need be, or -1 with errno.
static int prepare(const struct image *image, int base, const char *name) {
    for (int tries = 0; tries < 5; tries++) {
        int folder = open_locked(base, name);
        if (folder >= 0) {
            if (is_whole(image, folder)) return folder;
            close(folder);
        }
        char new[64], old[64];
        snprintf(new, sizeof(new), "%s.new.%d", name, (int)getpid());
        snprintf(old, sizeof(old), "%s.old.%d", name, (int)getpid());
        delete_all(base, new); // of a former process with our number
        if (mkdirat(base, new, 0700) || (folder = open_locked(base, new)) < 0) return -1;
        if (unpack(image, folder)) {
            int reason = errno;
            close(folder);
            delete_all(base, new);
            errno = reason;
            return -1;
        }
        close(folder);
        if (renameat(base, new, base, name)) { // another start was first, or what is there is not whole
            folder = open_locked(base, name);
            int good = folder >= 0 && is_whole(image, folder);
            if (folder >= 0) close(folder);
            if (good || renameat(base, name, base, old)) {
                delete_all(base, new);
            } else {
                renameat(base, new, base, name);
                delete_all(base, old);
            }
        }
        delete_unused(base, name);
    }
    errno = EAGAIN;
    return -1;
}

struct place {
    char path[PATH_MAX];
    int among_others; // in a folder that others may write to as well
};

// Open a folder that only we can write to and programs can run from; makes it and its parent.
// Returns -1 with errno where that is not to be had.
static int open_base(const struct place *place) {
    const char *path = place->path;
    char parent[PATH_MAX];
    errno = ENOTDIR;
    if (path[0] != '/') return -1;
    strcpy(parent, path);
    char *slash = strrchr(parent, '/');
    if (slash != parent) {
        *slash = 0;
        mkdir(parent, 0700);
    }
    mkdir(path, 0700);
    int base = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (place->among_others ? O_NOFOLLOW : 0));
    struct stat facts;
    struct statvfs system;
    if (base < 0 || fstat(base, &facts) || fstatvfs(base, &system)) return -1;
    if (facts.st_uid == geteuid() && !(facts.st_mode & 022) && !(system.f_flag & ST_NOEXEC)) return base;
    close(base);
    errno = EACCES;
    return -1;
}

static int is_ours(const char *path) {
    struct stat facts;
    return path && path[0] == '/' && !stat(path, &facts) && facts.st_uid == geteuid();
}

// Set the places to unpack in, best first; returns how many.
static int list_places(struct place places[4]) {
    int count = 0;
    const char *said = getenv("RERANKD_UNPACK_DIR"), *home = getenv("HOME");
    const char *service = getenv("CACHE_DIRECTORY"), *caches = getenv("XDG_CACHE_HOME");
    if (said && *said) { // no other place then
        path_of(places[0].path, "%s", said);
        return 1;
    }
    if (service && *service && !strchr(service, ':')) // systemd's
        path_of(places[count++].path, "%s", service);
    if (is_ours(caches))
        path_of(places[count++].path, "%s/rerankd", caches);
    else if (is_ours(home) && strcmp(home, "/"))
        path_of(places[count++].path, "%s/.cache/rerankd", home);
    const char *temporary = getenv("TMPDIR");
    path_of(places[count].path, "%s/rerankd-%u",
            temporary && temporary[0] == '/' ? temporary : "/tmp", (unsigned)geteuid());
    places[count++].among_others = 1;
    return count;
}

static void become(const char *own, const char *folder, int count, char **words) {
    char loader[PATH_MAX], libraries[PATH_MAX], program[PATH_MAX];
    path_of(loader, "%s/_internal/%s", folder, LOADER);
    path_of(libraries, "%s/_internal", folder);
    path_of(program, "%s/rerankd", folder);
    char **call = calloc((size_t)count + 4, sizeof(*call));
    if (!call) fail("no memory");
    call[0] = loader, call[1] = "--library-path", call[2] = libraries, call[3] = program;
    for (int at = 1; at < count; at++) call[at + 3] = words[at];
    setenv("RERANKD_BINARY", own, 1);
    setenv("PYINSTALLER_RESET_ENVIRONMENT", "1", 1); // we may be a child of another one
    execv(loader, call);
    fail("can't start %s: %s", loader, strerror(errno));
}

int main(int count, char **words) {
#ifdef __x86_64__
    // What numpy's build and llama.cpp's plainest kernels need: Intel since 2008, AMD since 2011.
    if (!__builtin_cpu_supports("x86-64-v2")) fail("this processor lacks SSE4.2, which rerankd needs");
#endif
    // What is opened next must not take the place of a standard stream that was closed.
    for (int at = 0; at <= STDERR_FILENO; at++)
        if (fcntl(at, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0) fail("can't open /dev/null");
    const char *own = own_path();
    struct image image = open_image(own);
    char name[32];
    struct place places[4] = {0};
    snprintf(name, sizeof(name), PREFIX "%.16s", image.footer.build);
    int reason = 0;
    int last = list_places(places);
    for (int at = 0; at < last; at++) {
        int base = open_base(&places[at]);
        int folder = base < 0 ? -1 : prepare(&image, base, name);
        if (folder < 0) {
            reason = errno;
            continue;
        }
        char path[PATH_MAX];
        become(own, path_of(path, "%s/%s", places[at].path, name), count, words);
    }
    fail("can't unpack myself into %s (%s): name a folder of your own with RERANKD_UNPACK_DIR; it needs "
         "space, and to be on a file system that programs may run from",
         places[last - 1].path, strerror(reason));
}

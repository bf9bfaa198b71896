/* Makes system calls on the files below one folder fail, come short, wait, or kill, while the program runs.
 *
 * Loaded with LD_PRELOAD. It does not wrap functions of the C library: a program may make its system calls itself, and
 * a wrapper would not see them. A seccomp filter raises SIGSYS for each call that writes, syncs or names files, whoever
 * makes it; the handler does the call in the program's place, or what the control file says instead.
 *
 *   FAULTS_ROOT     the folder; calls on other files pass
 *   FAULTS_CONTROL  a file of 64-bit words, shared with the test: struct control
 *   FAULTS_SHADOW   if set, a folder that gets only what was made durable: i<inode> has the synced bytes of a file,
 *                   d<inode> the synced names of a folder (`inode type name`, a line each). It is what a disk holds
 *                   after a loss of power, if it loses all that it may lose.
 *
 * What it cannot follow (io_uring, shared writable mappings, splice and their like) it refuses or counts as `strange`.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

/* ---- what the test and the library share ---- */

enum kind { OPEN = 1, WRITE = 2, SYNC = 4, SYNC_FOLDER = 8, SIZE = 16, RENAME = 32, UNLINK = 64, MKDIR = 128, READ = 256 };
enum { KINDS = 9 };
enum part { JOURNAL = 1, BLOBS = 2, OTHER = 4, SPARE = 8 };
enum effect { NONE, ERROR, SHORT, HALF_THEN_ERROR, HOLD, KILL_BEFORE, KILL_AFTER, DONE_THEN_ERROR, LIE };

struct control {
  uint64_t loaded;   /* how many processes have this library, ever */
  uint64_t effect;   /* enum effect; written last by the test */
  uint64_t kinds;    /* of which calls: a set of enum kind */
  uint64_t parts;    /* below which folders: a set of enum part */
  uint64_t from;     /* the first such call that is affected, from 1 */
  uint64_t count;    /* how many are */
  uint64_t error;    /* errno of the failures */
  uint64_t selected; /* how many such calls there were since the test wrote 0 */
  uint64_t affected; /* how many of them were affected */
  uint64_t held;     /* how many wait now */
  uint64_t strange;  /* calls that this library cannot follow */
  uint64_t last;     /* the call that was affected last: its kinds, and its part shifted by 16 */
  uint64_t calls[KINDS];
};

static struct control *control;
static char root[4096], real_root[4096], shadow[4096];

/* ---- system calls that the filter lets pass: those made by this one instruction ---- */

long faults_call(long number, long a, long b, long c, long d, long e, long f);
extern const char faults_call_end[];

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
__asm__(".text\n.globl faults_call, faults_call_end\n.hidden faults_call, faults_call_end\nfaults_call:\n"
        "mov %rdi, %rax\nmov %rsi, %rdi\nmov %rdx, %rsi\nmov %rcx, %rdx\nmov %r8, %r10\nmov %r9, %r8\nmov 8(%rsp), %r9\n"
        "syscall\nfaults_call_end:\nret\n");
#define ARGUMENT(context, n) ((context)->uc_mcontext.gregs[((const int[]){REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8, REG_R9})[n]])
#define RESULT(context) ((context)->uc_mcontext.gregs[REG_RAX])
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
__asm__(".text\n.globl faults_call, faults_call_end\n.hidden faults_call, faults_call_end\nfaults_call:\n"
        "mov x8, x0\nmov x0, x1\nmov x1, x2\nmov x2, x3\nmov x3, x4\nmov x4, x5\nmov x5, x6\nsvc 0\nfaults_call_end:\nret\n");
#define ARGUMENT(context, n) ((context)->uc_mcontext.regs[n])
#define RESULT(context) ((context)->uc_mcontext.regs[0])
#else
#error "teach me this processor"
#endif

#define CALL(number, ...) CALL_(number, __VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define CALL_(number, a, b, c, d, e, f, ...) \
  faults_call(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

static void give_up(const char *why) {
  CALL(SYS_write, 2, "faults: ", 8);
  CALL(SYS_write, 2, why, strlen(why));
  CALL(SYS_write, 2, "\n", 1);
  CALL(SYS_exit_group, 70);
}

static void add(uint64_t *word, uint64_t by) { __atomic_add_fetch(word, by, __ATOMIC_SEQ_CST); }
static uint64_t read_word(uint64_t *word) { return __atomic_load_n(word, __ATOMIC_SEQ_CST); }

/* ---- which file? ---- */

/* The part of the folder that a path lies in; 0 when it lies elsewhere. */
static int part_of(const char *path) {
  const char *roots[] = {root, real_root};
  for (int i = 0; i < 2; i++) {
    size_t length = strlen(roots[i]);
    if (strncmp(path, roots[i], length) || (path[length] && path[length] != '/')) continue;
    /* A segment that is being prepared is no part of the journal yet. */
    if (!strncmp(path + length, "/journal", 8)) return strstr(path + length, ".tmp") ? SPARE : JOURNAL;
    return strncmp(path + length, "/blobs", 6) ? OTHER : BLOBS;
  }
  return 0;
}

static void number_into(char *text, unsigned long number) {
  char digits[24];
  int n = 0;
  do digits[n++] = '0' + number % 10; while (number /= 10);
  text += strlen(text);
  while (n) *text++ = digits[--n];
  *text = 0;
}

static void fd_path(long fd, char *path) {
  strcpy(path, "/proc/self/fd/");
  number_into(path, fd);
}

static int part_of_fd(long fd) {
  char link[64], path[4096];
  if (fd < 0) return 0;
  fd_path(fd, link);
  long length = CALL(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
  if (length <= 0 || path[0] != '/') return 0;
  path[length] = 0;
  return part_of(path);
}

static int part_of_name(long folder, const char *name) {
  char link[64] = "/proc/self/cwd", path[8192];
  if (!name) return 0;
  if (name[0] == '/') return part_of(name);
  if ((int)folder != AT_FDCWD) fd_path((int)folder, link);
  long length = CALL(SYS_readlinkat, AT_FDCWD, link, path, 4095);
  if (length <= 0 || strlen(name) >= 4096) return 0;
  path[length] = '/';
  strcpy(path + length + 1, name);
  return part_of(path);
}

/* ---- the shadow ---- */

struct range { uint64_t inode, start, end; };
static struct range ranges[1 << 16]; /* written, not synced */
static int ranges_used, lock_word;
static char block[1 << 16];

static void lock(void) { while (__atomic_exchange_n(&lock_word, 1, __ATOMIC_ACQUIRE)) CALL(SYS_sched_yield, 0); }
static void unlock(void) { __atomic_store_n(&lock_word, 0, __ATOMIC_RELEASE); }

static long shadow_file(char kind, uint64_t inode, const char *suffix, char *path) {
  char name[] = {'/', kind, 0};
  strcpy(path, shadow);
  strcat(path, name);
  number_into(path, inode);
  strcat(path, suffix);
  long fd = CALL(SYS_openat, AT_FDCWD, path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0) give_up("the shadow cannot be written");
  return fd;
}

static void copy_range(long from, long to, uint64_t start, uint64_t end) {
  while (start < end) {
    uint64_t left = end - start < sizeof block ? end - start : sizeof block;
    long bytes = CALL(SYS_pread64, from, block, left, start);
    if (bytes <= 0) return;
    if (CALL(SYS_pwrite64, to, block, bytes, start) != bytes) give_up("the shadow is full");
    start += bytes;
  }
}

/* What was written to the file since its last sync is durable now, or lost for good when the sync has failed. */
static void shadow_synced(long fd, const struct stat *file, int lost) {
  char path[4200], link[64];
  fd_path(fd, link);
  long from = CALL(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC);
  long to = lost ? -1 : shadow_file('i', file->st_ino, "", path);
  int kept = 0;
  for (int i = 0; i < ranges_used; i++) {
    if (ranges[i].inode != file->st_ino) ranges[kept++] = ranges[i];
    else if (!lost) copy_range(from, to, ranges[i].start, ranges[i].end);
  }
  ranges_used = kept;
  if (!lost) CALL(SYS_ftruncate, to, file->st_size);
  if (to >= 0) CALL(SYS_close, to);
  CALL(SYS_close, from);
}

static void shadow_written(const struct stat *file, uint64_t start, uint64_t bytes) {
  struct range *last = ranges_used ? &ranges[ranges_used - 1] : 0;
  if (last && last->inode == file->st_ino && last->end == start) {
    last->end += bytes;
  } else if (ranges_used == sizeof ranges / sizeof *ranges) {
    give_up("too many writes without a sync");
  } else {
    ranges[ranges_used++] = (struct range){file->st_ino, start, start + bytes};
  }
}

struct entry { uint64_t inode, offset; unsigned short length; unsigned char type; char name[]; };

static void shadow_folder(long fd, const struct stat *folder) {
  char path[4200], final[4200], link[64], line[512];
  fd_path(fd, link);
  long from = CALL(SYS_openat, AT_FDCWD, link, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  long to = shadow_file('d', folder->st_ino, ".new", path);
  long bytes;
  while ((bytes = CALL(SYS_getdents64, from, block, sizeof block)) > 0) {
    for (long at = 0; at < bytes;) {
      struct entry *entry = (struct entry *)(block + at);
      at += entry->length;
      if (!strcmp(entry->name, ".") || !strcmp(entry->name, "..")) continue;
      line[0] = 0;
      number_into(line, entry->inode);
      strcat(line, entry->type == 4 ? " d " : " f ");
      strcat(line, entry->name);
      strcat(line, "\n");
      CALL(SYS_write, to, line, strlen(line));
    }
  }
  CALL(SYS_close, to);
  CALL(SYS_close, from);
  strcpy(final, path);
  final[strlen(final) - strlen(".new")] = 0;
  CALL(SYS_renameat2, AT_FDCWD, path, AT_FDCWD, final, 0);
}

/* ---- what a call is ---- */

struct call { long number, argument[6]; };

static long perform(const struct call *call) {
  const long *a = call->argument;
  return faults_call(call->number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static int writes(const struct call *call) {
  switch (call->number) {
    case SYS_write: case SYS_pwrite64: case SYS_writev: case SYS_pwritev: case SYS_pwritev2: return 1;
    default: return 0;
  }
}

static int is_durable_write(const struct call *call) {
  if (!writes(call)) return 0;
  long flags = CALL(SYS_fcntl, call->argument[0], F_GETFL);
  return (flags > 0 && flags & O_DSYNC) || (call->number == SYS_pwritev2 && call->argument[5] & (RWF_DSYNC | RWF_SYNC));
}

static int opening(long flags) { return flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC) ? OPEN : READ; }

/* The part of the folder, and the kinds in `kinds`; 0 when it is none of our business. */
static int judge(const struct call *call, int *kinds) {
  const long *a = call->argument;
  int part;
  struct stat file;
  switch (call->number) {
    case SYS_openat: *kinds = opening(a[2]); return part_of_name(a[0], (char *)a[1]);
    case SYS_openat2: *kinds = opening(*(uint64_t *)a[2]); return part_of_name(a[0], (char *)a[1]);
    case SYS_mkdirat: *kinds = MKDIR; return part_of_name(a[0], (char *)a[1]);
    case SYS_unlinkat: *kinds = UNLINK; return part_of_name(a[0], (char *)a[1]);
    case SYS_renameat: case SYS_renameat2: *kinds = RENAME; return part_of_name(a[2], (char *)a[3]);
#ifdef SYS_open
    case SYS_open: *kinds = opening(a[1]); return part_of_name(AT_FDCWD, (char *)a[0]);
    case SYS_creat: *kinds = OPEN; return part_of_name(AT_FDCWD, (char *)a[0]);
    case SYS_mkdir: *kinds = MKDIR; return part_of_name(AT_FDCWD, (char *)a[0]);
    case SYS_unlink: case SYS_rmdir: *kinds = UNLINK; return part_of_name(AT_FDCWD, (char *)a[0]);
    case SYS_rename: *kinds = RENAME; return part_of_name(AT_FDCWD, (char *)a[1]);
#endif
    case SYS_write: case SYS_pwrite64: case SYS_writev: case SYS_pwritev: case SYS_pwritev2:
      part = part_of_fd(a[0]);
      *kinds = WRITE | (part && is_durable_write(call) ? SYNC : 0);
      return part;
    case SYS_fsync: case SYS_fdatasync: case SYS_sync_file_range:
      part = part_of_fd(a[0]);
      *kinds = part && CALL(SYS_fstat, a[0], &file) == 0 && S_ISDIR(file.st_mode) ? SYNC_FOLDER : SYNC;
      return part;
    case SYS_ftruncate: case SYS_fallocate: *kinds = SIZE; return part_of_fd(a[0]);
    default: return 0;
  }
}

/* Calls that would change files behind our back. */
static long strange(const struct call *call) {
  const long *a = call->argument;
  int ours = 0;
  switch (call->number) {
    case SYS_io_uring_setup: return -ENOSYS;
    case SYS_mmap: ours = part_of_fd((int)a[4]); break;
    case SYS_sendfile: ours = part_of_fd(a[0]); break;
    case SYS_copy_file_range: case SYS_splice: ours = part_of_fd(a[2]); break;
    case SYS_linkat: ours = part_of_name(a[2], (char *)a[3]); break;
    case SYS_symlinkat: ours = part_of_name(a[1], (char *)a[2]); break;
    case SYS_truncate: ours = part_of_name(AT_FDCWD, (char *)a[0]); break;
    case SYS_syncfs: case SYS_sync: ours = 1; break;
  }
  if (ours) add(&control->strange, 1);
  return perform(call);
}

/* ---- what becomes of it ---- */

/* Half of a write; all of it where it cannot be halved. */
static long half(const struct call *call) {
  struct call part = *call;
  long flags = CALL(SYS_fcntl, call->argument[0], F_GETFL);
  unsigned long unit = flags > 0 && flags & O_DIRECT ? 4096 : 1;
  if (call->number == SYS_write || call->number == SYS_pwrite64) {
    unsigned long bytes = (unsigned long)call->argument[2] / 2 / unit * unit;
    if (bytes) part.argument[2] = bytes;
    return perform(&part);
  }
  struct iovec first = *(struct iovec *)call->argument[1];
  if (first.iov_len / 2 / unit) first.iov_len = first.iov_len / 2 / unit * unit;
  part.argument[1] = (long)&first;
  part.argument[2] = 1;
  return perform(&part);
}

static long hold(const struct call *call) {
  struct timespec millisecond = {0, 1000000};
  add(&control->held, 1);
  while (read_word(&control->effect) == HOLD) CALL(SYS_nanosleep, &millisecond, 0);
  add(&control->held, -1);
  return perform(call);
}

static int lied; /* in the shadow only: what was said to be durable is not */

static void die(void) {
  CALL(SYS_kill, CALL(SYS_getpid, 0), SIGKILL);
  for (;;) CALL(SYS_sched_yield, 0);
}

static long affected(const struct call *call, enum effect effect) {
  long result, error = -(long)read_word(&control->error);
  add(&control->affected, 1);
  switch (effect) {
    case ERROR: return error;
    case SHORT: return writes(call) ? half(call) : perform(call);
    case HALF_THEN_ERROR: return writes(call) && (result = half(call)) < 0 ? result : error;
    case HOLD: return hold(call);
    case KILL_BEFORE: die(); return 0;
    case KILL_AFTER: perform(call); die(); return 0;
    case LIE: lied = 1; return writes(call) ? perform(call) : 0;
    case DONE_THEN_ERROR: return (result = perform(call)) < 0 ? result : error;
    default: return perform(call);
  }
}

static long answered(const struct call *call, int part, int kinds) {
  /* A write that syncs is counted as a write, as strace shows it. */
  int counted = kinds & WRITE ? WRITE : kinds;
  for (int kind = 0; kind < KINDS; kind++)
    if (counted & 1 << kind) add(&control->calls[kind], 1);
  enum effect effect = read_word(&control->effect);
  if (effect == NONE || !(read_word(&control->kinds) & kinds) || !(read_word(&control->parts) & part)) return perform(call);
  uint64_t at = __atomic_add_fetch(&control->selected, 1, __ATOMIC_SEQ_CST), from = read_word(&control->from);
  if (at < from || at - from >= read_word(&control->count)) return perform(call);
  __atomic_store_n(&control->last, (uint64_t)kinds | (uint64_t)part << 16, __ATOMIC_SEQ_CST);
  return affected(call, effect);
}

/* As `answered`, and the shadow is told. */
static long shadowed(const struct call *call, int part, int kinds) {
  long fd = call->argument[0];
  struct stat file;
  if (!(kinds & (WRITE | SYNC | SYNC_FOLDER))) return answered(call, part, kinds);
  lock();
  int durable = is_durable_write(call);
  uint64_t at = call->number == SYS_write || call->number == SYS_writev ? (uint64_t)CALL(SYS_lseek, fd, 0, SEEK_CUR)
                                                                        : (uint64_t)call->argument[3];
  lied = 0;
  long result = answered(call, part, kinds);
  if (!lied && CALL(SYS_fstat, fd, &file) == 0) {
    if (kinds & WRITE && result > 0) shadow_written(&file, at, result);
    if (kinds & SYNC_FOLDER && result == 0) shadow_folder(fd, &file);
    else if (kinds & SYNC && (durable || call->number != SYS_sync_file_range)) shadow_synced(fd, &file, result < 0);
  }
  unlock();
  return result;
}

static void on_call(int signal, siginfo_t *what, void *where) {
  (void)signal;
  ucontext_t *context = where;
  struct call call = {what->si_syscall, {0}};
  for (int n = 0; n < 6; n++) call.argument[n] = ARGUMENT(context, n);
  int kinds = 0, part = judge(&call, &kinds);
  if (part) RESULT(context) = shadow[0] ? shadowed(&call, part, kinds) : answered(&call, part, kinds);
  else RESULT(context) = strange(&call);
}

/* ---- the filter ---- */

static const int trapped[] = {
#ifdef SYS_open
    SYS_open, SYS_creat, SYS_mkdir, SYS_unlink, SYS_rmdir, SYS_rename,
#endif
    SYS_openat, SYS_openat2, SYS_mkdirat, SYS_unlinkat, SYS_renameat, SYS_renameat2, SYS_write, SYS_pwrite64,
    SYS_writev, SYS_pwritev, SYS_pwritev2, SYS_fsync, SYS_fdatasync, SYS_sync_file_range, SYS_ftruncate, SYS_fallocate,
    SYS_io_uring_setup, SYS_sendfile, SYS_copy_file_range, SYS_splice, SYS_linkat, SYS_symlinkat, SYS_truncate,
    SYS_syncfs, SYS_sync};
enum { TRAPPED = sizeof trapped / sizeof *trapped };

#define LOAD(field) (struct sock_filter) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define LOAD_HIGH(field) (struct sock_filter) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field) + 4)
#define EQUAL(value, yes, no) (struct sock_filter) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
#define HAS(value, yes, no) (struct sock_filter) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, value, yes, no)
#define RETURN(value) (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, value)

static int install(void) {
  struct sock_filter filter[TRAPPED + 24];
  int n = 0;
  uint64_t ours = (uint64_t)(uintptr_t)faults_call_end;
  filter[n++] = LOAD(arch);
  filter[n++] = EQUAL(ARCH, 1, 0);
  filter[n++] = RETURN(SECCOMP_RET_KILL_PROCESS);
  filter[n++] = LOAD(instruction_pointer);
  filter[n++] = EQUAL((uint32_t)ours, 0, 3);
  filter[n++] = LOAD_HIGH(instruction_pointer);
  filter[n++] = EQUAL((uint32_t)(ours >> 32), 0, 1);
  filter[n++] = RETURN(SECCOMP_RET_ALLOW);
  filter[n++] = LOAD(nr);
  filter[n++] = EQUAL(SYS_mmap, 0, 6);
  filter[n++] = LOAD(args[2]);
  filter[n++] = HAS(PROT_WRITE, 0, 3);
  filter[n++] = LOAD(args[3]);
  filter[n++] = HAS(MAP_SHARED, 0, 1);
  filter[n++] = RETURN(SECCOMP_RET_TRAP);
  filter[n++] = RETURN(SECCOMP_RET_ALLOW);
  for (int i = 0; i < TRAPPED; i++) filter[n++] = EQUAL((uint32_t)trapped[i], TRAPPED - i, 0);
  filter[n++] = RETURN(SECCOMP_RET_ALLOW);
  filter[n++] = RETURN(SECCOMP_RET_TRAP);
  struct sock_fprog program = {n, filter};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

__attribute__((constructor)) static void begin(void) {
  const char *folder = getenv("FAULTS_ROOT"), *file = getenv("FAULTS_CONTROL"), *copy = getenv("FAULTS_SHADOW");
  if (!folder || !file || strlen(folder) >= sizeof root || (copy && strlen(copy) >= 4000)) give_up("no FAULTS_ROOT or FAULTS_CONTROL");
  strcpy(root, folder);
  if (!realpath(folder, real_root)) strcpy(real_root, folder);
  if (copy) strcpy(shadow, copy);
  int fd = open(file, O_RDWR | O_CLOEXEC);
  control = fd < 0 ? MAP_FAILED : mmap(0, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (control == MAP_FAILED) give_up("the control file cannot be mapped");
  close(fd);
  add(&control->loaded, 1);
  struct sigaction action = {.sa_sigaction = on_call, .sa_flags = SA_SIGINFO | SA_RESTART};
  if (sigaction(SIGSYS, &action, 0) || install()) give_up("no seccomp filter can be installed here");
}

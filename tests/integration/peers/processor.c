/* Lets a program see a lesser x86-64 processor than it runs on:
 *     gcc -shared -fPIC -O2 -o processor.so processor.c
 *     PROCESSOR=avx2 LD_PRELOAD=$PWD/processor.so PROGRAM
 * avx2 hides AVX-512, AMX and AVX-VNNI, avx512 hides AMX. Linux makes CPUID fault on Intel processors
 * (cpuid_fault in /proc/cpuinfo), and the handler answers in its place. What reads CPUID before this is
 * loaded, the C library itself, keeps what it found. The program must leave SIGSEGV alone. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define ARCH_SET_CPUID 0x1012

struct hidden {
    unsigned b, c, d; /* of leaf 7 */
    unsigned a1;      /* of leaf 7, part 1 */
};

/* AMX-BF16, AMX-TILE, AMX-INT8; AMX-FP16 */
static const struct hidden AMX = {.d = 1u << 22 | 1u << 24 | 1u << 25, .a1 = 1u << 21};

/* F, DQ, IFMA, PF, ER, CD, BW, VL; VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ; 4VNNIW, 4FMAPS, VP2INTERSECT, FP16;
 * AVX-VNNI, AVX512-BF16 */
static const struct hidden AVX512 = {
    .b = 1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 30 | 1u << 31,
    .c = 1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14,
    .d = 1u << 2 | 1u << 3 | 1u << 8 | 1u << 23,
    .a1 = 1u << 4 | 1u << 5,
};

static struct hidden hidden;

static void on_fault(int signal_number, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const unsigned char *code = (const unsigned char *)registers[REG_RIP];
    if (info->si_code != SI_KERNEL || code[0] != 0x0f || code[1] != 0xa2) {
        signal(signal_number, SIG_DFL); /* a real fault: it happens again, and ends the process */
        return;
    }
    unsigned leaf = (unsigned)registers[REG_RAX], part = (unsigned)registers[REG_RCX];
    unsigned a = leaf, b, c = part, d;
    syscall(SYS_arch_prctl, ARCH_SET_CPUID, 1);
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0);
    if (leaf == 7 && part == 0) {
        b &= ~hidden.b, c &= ~hidden.c, d &= ~hidden.d;
    } else if (leaf == 7 && part == 1) {
        a &= ~hidden.a1;
    }
    registers[REG_RAX] = a, registers[REG_RBX] = b, registers[REG_RCX] = c, registers[REG_RDX] = d;
    registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void hide(void) {
    const char *processor = getenv("PROCESSOR");
    hidden = AMX;
    if (processor && strcmp(processor, "avx2") == 0) {
        hidden.b |= AVX512.b, hidden.c |= AVX512.c, hidden.d |= AVX512.d, hidden.a1 |= AVX512.a1;
    } else if (!processor || strcmp(processor, "avx512") != 0) {
        fputs("processor.c: PROCESSOR must be avx2 or avx512\n", stderr);
        exit(2);
    }
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSEGV, &action, NULL);
    if (syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0) != 0) {
        perror("processor.c: CPUID can't be made to fault here");
        exit(2);
    }
}

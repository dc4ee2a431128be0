//go:build linux

#include "textflag.h"
#include "go_asm.h"

#define SYS_rt_sigprocmask 14
#define SYS_exit 60
#define SYS_futex 202
#define SYS_clone3 435

// func cloneWalk(c *control) (pid int)
//
// Blocks every signal, calls clone3 and, in the parent, restores the mask and returns the result. The child never
// returns: it shares the parent's stack, so it must not push, call or return.
//
// Registers of the child: R12 control, R13 current step, R14 register file, R15 its index.
TEXT ·cloneWalk(SB),NOSPLIT|NOFRAME,$0-16
	MOVQ	c+0(FP), R12

	MOVQ	$SYS_rt_sigprocmask, AX
	MOVQ	$2, DI			// SIG_SETMASK
	LEAQ	control_fullMask(R12), SI
	LEAQ	control_oldMask(R12), DX
	MOVQ	$8, R10
	SYSCALL

	MOVQ	$SYS_clone3, AX
	LEAQ	control_clone(R12), DI
	MOVQ	$cloneArgs__size, SI
	SYSCALL
	TESTQ	AX, AX
	JEQ	child

	MOVQ	AX, R13
	MOVQ	$SYS_rt_sigprocmask, AX
	MOVQ	$2, DI
	LEAQ	control_oldMask(R12), SI
	XORQ	DX, DX
	MOVQ	$8, R10
	SYSCALL
	MOVQ	R13, pid+8(FP)
	RET

child:
	MOVQ	control_steps(R12), R13
	MOVQ	control_regs(R12), R14
	XORQ	R15, R15

next:
	CMPQ	R15, control_nsteps(R12)
	JGE	finished
	MOVQ	R15, control_progress(R12)

	// Arguments; a set bit of regMask says that the argument is the number of a register.
	MOVQ	step_regMask(R13), BX
	MOVQ	(step_args+0)(R13), DI
	MOVQ	(step_args+8)(R13), SI
	MOVQ	(step_args+16)(R13), DX
	MOVQ	(step_args+24)(R13), R10
	MOVQ	(step_args+32)(R13), R8
	MOVQ	(step_args+40)(R13), R9
	TESTQ	$1, BX
	JEQ	a1
	MOVQ	(R14)(DI*8), DI
a1:
	TESTQ	$2, BX
	JEQ	a2
	MOVQ	(R14)(SI*8), SI
a2:
	TESTQ	$4, BX
	JEQ	a3
	MOVQ	(R14)(DX*8), DX
a3:
	TESTQ	$8, BX
	JEQ	a4
	MOVQ	(R14)(R10*8), R10
a4:
	TESTQ	$16, BX
	JEQ	a5
	MOVQ	(R14)(R8*8), R8
a5:
	TESTQ	$32, BX
	JEQ	a6
	MOVQ	(R14)(R9*8), R9
a6:
	// A negative number is an injected result.
	MOVQ	step_nr(R13), AX
	TESTQ	AX, AX
	JLT	check
	SYSCALL

check:
	CMPQ	AX, $0xfffffffffffff001
	JCC	failed

	MOVQ	step_out(R13), BX
	TESTQ	BX, BX
	JLT	noout
	MOVQ	AX, (R14)(BX*8)
noout:
	MOVQ	step_store(R13), BX
	TESTQ	BX, BX
	JEQ	nostore
	MOVL	AX, (BX)
nostore:
	MOVQ	step_flags(R13), BX
	TESTQ	$const_flagFork, BX
	JEQ	nofork
	TESTQ	AX, AX
	JNE	leave
nofork:
	TESTQ	$const_flagWant, BX
	JEQ	advance
	CMPQ	AX, step_want(R13)
	JEQ	advance
	MOVQ	$-28, AX		// ENOSPC: a short write
	JMP	fatal

failed:
	MOVQ	step_flags(R13), BX
	TESTQ	$const_flagSoft, BX
	JEQ	fatal
	MOVQ	step_errnos(R13), BX
	TESTQ	BX, BX
	JEQ	soft
	// errnos holds up to four errno values of 16 bits.
	MOVQ	AX, CX
	NEGQ	CX
	MOVQ	$4, DX
match:
	MOVWQZX	BX, DI
	CMPQ	DI, CX
	JEQ	soft
	SHRQ	$16, BX
	DECQ	DX
	JNE	match
	JMP	fatal
soft:
	MOVQ	step_out(R13), BX
	TESTQ	BX, BX
	JLT	skip
	MOVQ	AX, (R14)(BX*8)
skip:
	MOVQ	step_skip(R13), CX
	ADDQ	CX, R15
	IMULQ	$step__size, CX
	ADDQ	CX, R13
advance:
	INCQ	R15
	ADDQ	$step__size, R13
	JMP	next

fatal:
	NEGQ	AX
	MOVQ	AX, control_errno(R12)
	MOVL	$0, control_done(R12)
	LEAQ	control_done(R12), DI
	MOVQ	$1, SI			// FUTEX_WAKE
	MOVQ	$1, DX
	MOVQ	$SYS_futex, AX
	SYSCALL
	MOVQ	$127, DI
	JMP	exit
finished:
	CMPL	control_stays(R12), $0
	JNE	stay
leave:
	XORQ	DI, DI
exit:
	MOVQ	$SYS_exit, AX
	SYSCALL
	UNDEF				// a filter refused exit

	// A cloner, see cloner.go: R13 is its control block from here on, R12 that of what it clones.
stay:
	MOVQ	R12, R13
idle:
	MOVL	$1, control_ready(R13)
	LEAQ	control_ready(R13), DI
	MOVQ	$1, SI			// FUTEX_WAKE
	MOVQ	$1, DX
	MOVQ	$SYS_futex, AX
	SYSCALL
listen:
	CMPL	control_bell(R13), $0
	JNE	rung
	LEAQ	control_bell(R13), DI
	XORQ	SI, SI			// FUTEX_WAIT
	XORQ	DX, DX
	XORQ	R10, R10
	MOVQ	$SYS_futex, AX
	SYSCALL
	JMP	listen
rung:
	MOVL	$0, control_bell(R13)
	MOVQ	control_job(R13), R12
	MOVQ	$SYS_clone3, AX
	MOVQ	control_call(R13), DI
	TESTQ	DI, DI
	JEQ	second
	MOVQ	$cloneArgs__size, SI
	SYSCALL
	TESTQ	AX, AX
	JEQ	second
	CMPQ	AX, $0xfffffffffffff001
	JCS	idle			// whatever it waited for: the launch may be over
	NEGQ	AX
	MOVQ	AX, control_errno(R12)
	MOVL	$0, control_done(R12)
	LEAQ	control_done(R12), DI
	MOVQ	$1, SI			// FUTEX_WAKE
	MOVQ	$1, DX
	MOVQ	$SYS_futex, AX
	SYSCALL
	JMP	idle
second:
	MOVQ	control_first(R12), R15
	MOVQ	R15, CX
	IMULQ	$step__size, CX
	MOVQ	control_steps(R12), R13
	ADDQ	CX, R13
	MOVQ	control_regs(R12), R14
	JMP	next

// func walkAddr() uintptr
TEXT ·walkAddr(SB),NOSPLIT|NOFRAME,$0-8
	LEAQ	·cloneWalk(SB), AX
	MOVQ	AX, ret+0(FP)
	RET

//go:build linux

#include "textflag.h"
#include "go_asm.h"

#define SYS_rt_sigprocmask 135
#define SYS_exit 93
#define SYS_futex 98
#define SYS_clone3 435

// func cloneWalk(c *control) (pid int)
//
// See walk_amd64.s. Registers of the child: R19 control, R20 current step, R21 register file, R22 its index.
TEXT ·cloneWalk(SB),NOSPLIT|NOFRAME,$0-16
	MOVD	c+0(FP), R19

	MOVD	$2, R0			// SIG_SETMASK
	ADD	$control_fullMask, R19, R1
	ADD	$control_oldMask, R19, R2
	MOVD	$8, R3
	MOVD	$SYS_rt_sigprocmask, R8
	SVC

	ADD	$control_clone, R19, R0
	MOVD	$cloneArgs__size, R1
	MOVD	$SYS_clone3, R8
	SVC
	CBZ	R0, child

	MOVD	R0, R20
	MOVD	$2, R0
	ADD	$control_oldMask, R19, R1
	MOVD	$0, R2
	MOVD	$8, R3
	MOVD	$SYS_rt_sigprocmask, R8
	SVC
	MOVD	R20, pid+8(FP)
	RET

child:
	MOVD	control_steps(R19), R20
	MOVD	control_regs(R19), R21
	MOVD	$0, R22

next:
	MOVD	control_nsteps(R19), R9
	CMP	R9, R22
	BGE	finished
	MOVD	R22, control_progress(R19)

	MOVD	step_regMask(R20), R10
	MOVD	(step_args+0)(R20), R0
	MOVD	(step_args+8)(R20), R1
	MOVD	(step_args+16)(R20), R2
	MOVD	(step_args+24)(R20), R3
	MOVD	(step_args+32)(R20), R4
	MOVD	(step_args+40)(R20), R5
	TBZ	$0, R10, a1
	MOVD	(R21)(R0<<3), R0
a1:
	TBZ	$1, R10, a2
	MOVD	(R21)(R1<<3), R1
a2:
	TBZ	$2, R10, a3
	MOVD	(R21)(R2<<3), R2
a3:
	TBZ	$3, R10, a4
	MOVD	(R21)(R3<<3), R3
a4:
	TBZ	$4, R10, a5
	MOVD	(R21)(R4<<3), R4
a5:
	TBZ	$5, R10, a6
	MOVD	(R21)(R5<<3), R5
a6:
	MOVD	step_nr(R20), R8
	TBZ	$63, R8, call
	MOVD	R8, R0
	B	check
call:
	SVC

check:
	CMN	$4095, R0
	BCS	failed

	MOVD	step_out(R20), R9
	TBNZ	$63, R9, noout
	MOVD	R0, (R21)(R9<<3)
noout:
	MOVD	step_store(R20), R9
	CBZ	R9, nostore
	MOVW	R0, (R9)
nostore:
	MOVD	step_flags(R20), R9
	AND	$const_flagFork, R9, R10
	CBZ	R10, nofork
	CBNZ	R0, leave
nofork:
	AND	$const_flagWant, R9, R10
	CBZ	R10, advance
	MOVD	step_want(R20), R10
	CMP	R10, R0
	BEQ	advance
	MOVD	$-28, R0		// ENOSPC: a short write
	B	fatal

failed:
	MOVD	step_flags(R20), R9
	AND	$const_flagSoft, R9, R10
	CBZ	R10, fatal
	MOVD	step_errnos(R20), R9
	CBZ	R9, soft
	NEG	R0, R11
	MOVD	$4, R12
match:
	AND	$0xffff, R9, R10
	CMP	R10, R11
	BEQ	soft
	LSR	$16, R9, R9
	SUB	$1, R12, R12
	CBNZ	R12, match
	B	fatal
soft:
	MOVD	step_out(R20), R9
	TBNZ	$63, R9, skip
	MOVD	R0, (R21)(R9<<3)
skip:
	MOVD	step_skip(R20), R9
	ADD	R9, R22, R22
	MOVD	$step__size, R10
	MUL	R10, R9, R9
	ADD	R9, R20, R20
advance:
	ADD	$1, R22, R22
	ADD	$step__size, R20, R20
	B	next

fatal:
	NEG	R0, R0
	MOVD	R0, control_errno(R19)
	MOVW	ZR, control_done(R19)
	ADD	$control_done, R19, R0
	MOVD	$1, R1			// FUTEX_WAKE
	MOVD	$1, R2
	MOVD	$SYS_futex, R8
	SVC
	MOVD	$127, R0
	B	exit
finished:
	MOVW	control_stays(R19), R9
	CBNZW	R9, stay
leave:
	MOVD	$0, R0
exit:
	MOVD	$SYS_exit, R8
	SVC
	UNDEF				// a filter refused exit

	// A cloner, see cloner.go: R20 is its control block from here on, R19 that of what it clones.
stay:
	MOVD	R19, R20
idle:
	MOVD	$1, R9
	ADD	$control_ready, R20, R0
	STLRW	R9, (R0)
	MOVD	$1, R1			// FUTEX_WAKE
	MOVD	$1, R2
	MOVD	$SYS_futex, R8
	SVC
listen:
	ADD	$control_bell, R20, R0
	LDARW	(R0), R9
	CBNZW	R9, rung
	MOVD	$0, R1			// FUTEX_WAIT
	MOVD	$0, R2
	MOVD	$0, R3
	MOVD	$SYS_futex, R8
	SVC
	B	listen
rung:
	MOVW	ZR, control_bell(R20)
	MOVD	control_job(R20), R19
	MOVD	control_call(R20), R0
	CBZ	R0, second
	MOVD	$cloneArgs__size, R1
	MOVD	$SYS_clone3, R8
	SVC
	CBZ	R0, second
	CMN	$4095, R0
	BCC	idle			// whatever it waited for: the launch may be over
	NEG	R0, R0
	MOVD	R0, control_errno(R19)
	ADD	$control_done, R19, R0
	STLRW	ZR, (R0)
	MOVD	$1, R1			// FUTEX_WAKE
	MOVD	$1, R2
	MOVD	$SYS_futex, R8
	SVC
	B	idle
second:
	MOVD	control_first(R19), R22
	MOVD	$step__size, R10
	MUL	R10, R22, R9
	MOVD	control_steps(R19), R20
	ADD	R9, R20, R20
	MOVD	control_regs(R19), R21
	B	next

// func walkAddr() uintptr
TEXT ·walkAddr(SB),NOSPLIT|NOFRAME,$0-8
	MOVD	$·cloneWalk(SB), R0
	MOVD	R0, ret+0(FP)
	RET

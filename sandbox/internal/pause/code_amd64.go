package pause

const machine = 62 // EM_X86_64

var code = []byte{
	0xb8, 0x9d, 0x00, 0x00, 0x00, //        mov  $157, %eax       prctl
	0xbf, 0x04, 0x00, 0x00, 0x00, //        mov  $4, %edi         PR_SET_DUMPABLE
	0x31, 0xf6, //                          xor  %esi, %esi       0
	0x0f, 0x05, //                          syscall
	0x31, 0xc0, //                    again: xor %eax, %eax       read
	0x31, 0xff, //                          xor  %edi, %edi       the lifeline
	0x48, 0x89, 0xe6, //                    mov  %rsp, %rsi
	0xba, 0x01, 0x00, 0x00, 0x00, //        mov  $1, %edx
	0x0f, 0x05, //                          syscall
	0x48, 0x85, 0xc0, //                    test %rax, %rax
	0x7f, 0xeb, //                          jg   again            a byte means nothing
	0x48, 0x83, 0xf8, 0xfc, //              cmp  $-4, %rax        EINTR
	0x74, 0xe5, //                          je   again
	0xb8, 0x3c, 0x00, 0x00, 0x00, //        mov  $60, %eax        exit
	0x31, 0xff, //                          xor  %edi, %edi
	0x0f, 0x05, //                          syscall
}

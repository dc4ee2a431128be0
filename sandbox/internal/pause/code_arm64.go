package pause

const machine = 183 // EM_AARCH64

var code = words(
	0xd28014e8, //        mov  x8, #167         prctl
	0xd2800080, //        mov  x0, #4           PR_SET_DUMPABLE
	0xd2800001, //        mov  x1, #0
	0xd4000001, //        svc  #0
	0xd28007e8, // again: mov  x8, #63          read
	0xd2800000, //        mov  x0, #0           the lifeline
	0x910003e1, //        mov  x1, sp
	0xd2800022, //        mov  x2, #1
	0xd4000001, //        svc  #0
	0xf100001f, //        cmp  x0, #0
	0x54ffff4c, //        b.gt again            a byte means nothing
	0xb100101f, //        cmn  x0, #4           EINTR
	0x54ffff00, //        b.eq again
	0xd2800ba8, //        mov  x8, #93          exit
	0xd2800000, //        mov  x0, #0
	0xd4000001, //        svc  #0
)

func words(list ...uint32) []byte {
	var b []byte
	for _, w := range list {
		b = append(b, byte(w), byte(w>>8), byte(w>>16), byte(w>>24))
	}
	return b
}

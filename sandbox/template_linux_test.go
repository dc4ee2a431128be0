package sandbox

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"github.com/belljar-go/belljar/sandbox/internal/wire"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// templated returns a sandbox that was begun from a template, which this host must be able to make.
func templated(t testing.TB, opts ...Option) *Sandbox {
	t.Helper()
	needKernel(t, 6, 3) // tmpfs maps ids
	return begun(t, opts...)
}

// begun is templated for a root of the caller's too.
func begun(t testing.TB, opts ...Option) *Sandbox {
	t.Helper()
	needRoot(t) // an ordinary user's mounts belong to the user namespace of one sandbox
	original := standing(t, opts...)
	var clone *Sandbox
	for end := time.Now().Add(patience); time.Now().Before(end); {
		var err error
		clone, err = openSandbox(original.asked()) // a Clone for which nothing is made ahead
		require.NoError(t, err)
		if clone.engine.setup.template != nil {
			t.Cleanup(func() { require.NoError(t, clone.Close()) })
			return clone
		}
		// Somebody has mounted something on the host, and a moment has to pass.
		require.NoError(t, clone.Close())
		time.Sleep(restraintMost / 4)
	}
	t.Fatal("no clone was begun from a template")
	return nil
}

// What a sandbox sees of its root is the same, and as closed, whether it was begun from a template or not.
func TestTemplateIsLikeTheWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	opts := []Option{
		WithBind(dir, "/mnt/deep/dir", ReadOnly), WithBind(dir, "/mnt/out"), WithTmpfs("/scratch", "1m"), WithFile("/scratch/file", []byte("in memory"), 0o600),
		WithFile("/etc/own", []byte("own"), 0o644), WithFile("/box/secret", []byte("box"), 0o600), WithFile("/dev/shm/f", []byte("shm"), 0o644), WithHostname("alike"),
	}
	clone := templated(t, opts...)
	whole := newBox(t, append(opts, WithEnv("OTHER=1"))...)
	require.Nil(t, whole.engine.setup.template)
	looksAlike(t, whole, clone,
		"sed 's/ - \\([^ ]*\\).*/ \\1/' /proc/self/mountinfo | cut -d' ' -f5- | sort", // where, how, of which kind
		"find / -xdev -not -path '/proc/*' | sort",
		"find / -xdev -path /dev -prune -o -exec stat -c '%n %A %U %G' {} + | sort",
		"ls -la /dev /dev/shm /dev/pts /dev/mqueue | sed 's/[A-Z][a-z][a-z] .* \\([^ ]*\\)/\\1/; s/nobody nogroup/root root/g; s/^total.*//' | awk '{print $1, $NF}'",
		"cat /etc/passwd /etc/group /etc/own /scratch/file /box/secret /dev/shm/f; hostname; id",
		"cat /proc/sys/user/max_user_namespaces; wc -c /proc/keys /proc/interrupts; ls /proc/acpi",
		"for f in / /usr/bin /etc /etc/passwd /dev /dev/null /proc/sys /proc/bus /mnt/deep/dir; do touch $f/x 2>&1 || chmod 777 $f 2>&1; done; true",
	)
}

// looksAlike has a sandbox that was begun from a template, or on a ground, show the same as one that was not.
func looksAlike(t *testing.T, whole, clone *Sandbox, looks ...string) {
	t.Helper()
	for _, look := range looks {
		a, _ := try(t, whole, look)
		b, _ := try(t, clone, look)
		assert.Equal(t, normal(a), normal(b), look)
		assert.NotEmpty(t, b, look)
	}
	assert.Contains(t, clone.Plan(), "once    root        fspick(")
	assert.Contains(t, strings.Join(clone.Report().Enforced, "\n"), "template")
}

// normal leaves out what a template has different: ids are mapped on its root, and its /dev has no node of its own.
func normal(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, ",idmapped", ""), "/dev ro,nosuid,nodev,noexec", "/dev ro,nosuid,noexec")
}

// Nobody can write to what sandboxes share, not even the user who owns it inside.
func TestTemplateIsReadOnly(t *testing.T) {
	t.Parallel()
	clone := templated(t, WithCredential(0, 0))
	out := sh(t, clone, `echo ok > /tmp/f; cat /tmp/f
for p in /etc/passwd /etc/x /x /usr/x /dev/x /dev/null/x; do ( echo secret > $p ) 2>/dev/null && echo "written $p"; done
chmod 777 / /etc /etc/passwd /dev 2>/dev/null && echo changed
ln /etc/passwd /etc/y 2>/dev/null && echo linked
touch /etc/passwd 2>/dev/null && echo touched
mount -o remount,rw / 2>/dev/null && echo remounted
grep -E ' / / | / /dev ' /proc/self/mountinfo | grep -v ' - tmpfs [^ ]* ro,' && echo writable
true`)
	assert.Equal(t, "ok", out)
}

// Each step of a template is made to fail. The sandbox is made without one then, and nothing is left.
func TestFaultTemplate(t *testing.T) { faultTemplate(t, templated(t, WithHostname("template-faults"))) }

func faultTemplate(t *testing.T, first *Sandbox) {
	shape := first.engine.shape
	forget := func() {
		shape.root.mu.Lock()
		defer shape.root.mu.Unlock()
		shape.root.made, shape.root.vain, shape.root.useless = nil, restraint{}, false
	}
	tamperTemplates.Store(true)
	defer tamperTemplates.Store(false)
	p := first.engine.setup.template
	before := settled(t)
	for i := 0; i < len(p.Child); i += 5 * stride() {
		forget()
		failed := false
		stop := tampering(t, func(r *request) {
			if r.kind == wire.Template {
				r.plan = r.plan.Clone()
				failed = r.plan.Inject(i, injected)
			}
		})
		clone, err := openSandbox(first.asked())
		stop()
		require.NoError(t, err)
		require.True(t, failed)
		if s, _ := p.Step(i); !s.Soft {
			require.Nil(t, clone.engine.setup.template, "%s %s", s.Call, s.Object)
		}
		require.NoError(t, clone.Close())
		unchanged(t, before, fmt.Sprintf("after step %d of the template", i))
	}
	forget()

	// The steps of what is begun from it.
	do := func() error {
		clone, err := openSandbox(first.asked())
		if err == nil {
			require.NoError(t, clone.Close())
		}
		return err
	}
	require.NoError(t, do())
	own := first.engine.setup
	before = settled(t)
	uses := 0
	for i := 0; i < len(own.Child); i += 5 * stride() {
		s, _ := own.Step(i)
		var err error
		used := false
		stop := tampering(t, func(r *request) {
			if req, ok := r.body.(wire.CreateRequest); ok {
				used = req.Ground != 0 && r.plan.Inject(i, injected) // a second one is without, if the template has gone meanwhile
			}
		})
		err = do()
		stop()
		if used {
			uses++
		}
		switch before, ok := own.Step(i - 1); {
		case !used || tolerant(s): // the host's mounts have changed, and there is no template for a moment
			require.NoError(t, err)
		case s.Stage == "template": // it was made without
			require.NoError(t, err)
			forget()
			require.NoError(t, do())
		case err == nil && ok && i > 0 && before.Soft && before.Skip > 0:
		default:
			requireStep(t, err, s, injected)
		}
		unchanged(t, before, fmt.Sprintf("after step %d, %s %s", i, s.Call, s.Object))
	}

	assert.Positive(t, uses)

	// What cannot be done with a template, as on a kernel that cannot map its ids, is no reason not to have the sandbox.
	at := -len(own.Parent)
	for s, ok := own.Step(at); ok && s.Stage != "template"; s, ok = own.Step(at) {
		at++
	}
	failed := false
	stop := tampering(t, func(r *request) {
		if req, ok := r.body.(wire.CreateRequest); ok && req.Ground != 0 {
			failed = r.plan.Inject(at, injected)
		}
	})
	eventually(t, "a template is used", func() bool { // unless somebody mounts something on the host meanwhile
		forget()
		require.NoError(t, do())
		return failed
	})
	stop()
	forget()
	require.NoError(t, do())
}

// A template with an odd plan costs nobody anything but itself.
func TestTemplateRefused(t *testing.T) {
	t.Parallel()
	z, err := currentZygote()
	require.NoError(t, err)
	call := func(p *plan.Plan, req wire.TemplateRequest) error {
		_, _, err := z.call(request{kind: wire.Template, plan: p, body: req})
		return err
	}
	b := plan.NewBuilder()
	require.Error(t, call(b.Plan(), wire.TemplateRequest{Template: 1}), "no inputs")
	assert.ErrorIs(t, call(b.Plan(), wire.TemplateRequest{Template: 1, Sources: []string{"/nonexistent"}}), os.ErrNotExist)
	sb := newBox(t)
	_, err = sb.Run(context.Background(), "/bin/true")
	require.NoError(t, err)
}

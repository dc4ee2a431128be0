package image

import (
	"bufio"
	"io"
	"slices"
	"strconv"
	"strings"
)

// maxAccounts bounds how much of a file of accounts is read, in bytes.
const maxAccounts = 8 << 20

// maxGroups bounds the supplementary groups of a user, which the kernel does at 65536 (NGROUPS_MAX).
const maxGroups = 1024

// account is a line of passwd(5) or group(5).
type account struct {
	name    string
	id      int
	gid     int      // of a user
	members []string // of a group
}

// readAccounts reads the lines that are well-formed; gids says that it is of users.
func readAccounts(r io.Reader, users bool) []account {
	var list []account
	lines := bufio.NewScanner(io.LimitReader(r, maxAccounts))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		f := strings.Split(lines.Text(), ":")
		if len(f) < 4 || f[0] == "" {
			continue
		}
		a := account{name: f[0]}
		var ok bool
		if a.id, ok = number(f[2]); !ok {
			continue
		}
		if users {
			if a.gid, ok = number(f[3]); !ok {
				continue
			}
		} else if f[3] != "" {
			a.members = strings.Split(f[3], ",")
		}
		list = append(list, a)
	}
	return list
}

// number reads an id. Larger ones have been taken for negative ones, and for root (CVE-2024-40635).
func number(s string) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 31)
	return int(n), err == nil
}

// findUser resolves "user" or "user:group", each a name or a number, as docker does: a user by number that has no account is in group 0, and
// supplementary groups are those of the account, unless a group is given.
func findUser(text string, users, groups []account) (User, error) {
	name, group, given := strings.Cut(text, ":")
	if name == "" || given && group == "" {
		return User{}, malformed("user %s is not of the form user or user:group", quote(text))
	}
	var u User
	id, numeric := number(name)
	i := slices.IndexFunc(users, func(a account) bool { return !numeric && a.name == name || numeric && a.id == id })
	switch {
	case i >= 0:
		u.UID, u.GID, name = users[i].id, users[i].gid, users[i].name
	case numeric:
		u.UID, name = id, ""
	case digits(name):
		return User{}, malformed("user %s is beyond %d", quote(name), 1<<31-1)
	default:
		return User{}, missing("no user %s in its /etc/passwd", quote(name))
	}
	if given {
		var err error
		u.GID, err = findGroup(group, groups)
		return u, err
	}
	for _, g := range groups {
		if name != "" && g.id != u.GID && slices.Contains(g.members, name) {
			u.Groups = append(u.Groups, g.id)
		}
	}
	slices.Sort(u.Groups)
	if u.Groups = slices.Compact(u.Groups); len(u.Groups) > maxGroups {
		return User{}, tooMuch("user %s is in more than %d groups", quote(name), maxGroups)
	}
	return u, nil
}

func findGroup(text string, groups []account) (int, error) {
	if id, ok := number(text); ok {
		return id, nil
	}
	if digits(text) {
		return 0, malformed("group %s is beyond %d", quote(text), 1<<31-1)
	}
	for _, g := range groups {
		if g.name == text {
			return g.id, nil
		}
	}
	return 0, missing("no group %s in its /etc/group", quote(text))
}

func digits(s string) bool { return strings.Trim(s, "0123456789") == "" }

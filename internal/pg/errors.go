package pg

import "errors"

// The kinds of failure a caller may want to tell apart. The errors returned
// carry a sentence for the user and match one of these under [errors.Is].
var (
	// ErrUnreachable: nothing answers at the address, or not in time.
	ErrUnreachable = errors.New("postgres unreachable")
	// ErrAuth: the server refuses the user, the password or the client's address.
	ErrAuth = errors.New("postgres refuses the login")
	// ErrNoDatabase: the server has no database of that name.
	ErrNoDatabase = errors.New("database does not exist")
	// ErrInvalidURL: the connection string cannot be understood.
	ErrInvalidURL = errors.New("invalid database URL")
	// ErrUnsupported: the server is too old, or a pooler in front of it hides what Weir needs.
	ErrUnsupported = errors.New("unsupported postgres")
	// ErrPermission: the user lacks a right in the database.
	ErrPermission = errors.New("missing database permission")

	// ErrNoBinaries: this machine has no (matching) PostgreSQL server programs.
	ErrNoBinaries = errors.New("no postgres programs")
	// ErrVersionMismatch: the data directory was written by another major version.
	ErrVersionMismatch = errors.New("postgres version mismatch")
	// ErrPortTaken: the port asked for is in use or not allowed.
	ErrPortTaken = errors.New("postgres port taken")
	// ErrDataDir: the data directory cannot be used by the server's user.
	ErrDataDir = errors.New("unusable data directory")
	// ErrDirInUse: another process runs a server in the directory.
	ErrDirInUse = errors.New("data directory in use")
	// ErrDiskFull: the disk that holds the data directory is full.
	ErrDiskFull = errors.New("disk full")

	// ErrNewerSchema: the database was migrated by a newer Weir.
	ErrNewerSchema = errors.New("database newer than this program")
)

// sentence is an error whose text is written for the user, while kind and
// cause stay reachable for code.
type sentence struct {
	text  string
	kind  error
	cause error
}

func (e *sentence) Error() string { return e.text }

func (e *sentence) Unwrap() []error {
	if e.cause == nil {
		return []error{e.kind}
	}
	return []error{e.kind, e.cause}
}

func say(kind, cause error, text string) error {
	return &sentence{text: text, kind: kind, cause: cause}
}

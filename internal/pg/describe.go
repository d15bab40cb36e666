package pg

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const urlFlag = "--database-url (or WEIR_DATABASE_URL)"

// address is where a configuration connects to, for people.
func address(cfg *pgx.ConnConfig) string {
	one := func(host string, port uint16) string {
		if strings.HasPrefix(host, "/") {
			return fmt.Sprintf("%s/.s.PGSQL.%d", host, port)
		}
		return net.JoinHostPort(host, strconv.Itoa(int(port)))
	}
	all := []string{one(cfg.Host, cfg.Port)}
	for _, f := range cfg.Fallbacks {
		if a := one(f.Host, f.Port); a != all[len(all)-1] { // sslmode=prefer lists each host twice
			all = append(all, a)
		}
	}
	return strings.Join(all, ", ")
}

// describe turns a failure to connect into the user's sentence. Only
// ErrUnreachable is worth another try.
func describe(err error, cfg *pgx.ConnConfig) error {
	var known *sentence
	if errors.As(err, &known) {
		return err
	}
	at := address(cfg)
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		return describeServer(pe, cfg, at)
	}
	detail := scrub(innermost(err), cfg.Password)
	var dns *net.DNSError
	var unknownCA x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return say(ErrUnreachable, nil, fmt.Sprintf("postgres: nothing listens at %s (connection refused): start the server, or correct host and port in %s", at, urlFlag))
	case errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(cfg.Host, "/"):
		return say(ErrUnreachable, nil, fmt.Sprintf("postgres: there is no socket %s: start the server, or correct the host in %s", at, urlFlag))
	case errors.As(err, &dns):
		return say(ErrUnreachable, nil, fmt.Sprintf("postgres: host %s is not known to the name service (%s): correct the host in %s", dns.Name, dns.Err, urlFlag))
	case errors.As(err, &unknownCA), errors.As(err, &hostname), errors.As(err, &invalid):
		return say(ErrAuth, nil, fmt.Sprintf("postgres: the certificate of %s is not trusted (%s): give its authority with sslrootcert=, or another sslmode=, in %s", at, detail, urlFlag))
	case strings.Contains(detail, "server refused TLS"):
		return say(ErrAuth, nil, fmt.Sprintf("postgres: the server at %s speaks no TLS: switch it on there, or set sslmode=disable in %s if the way to it is safe", at, urlFlag))
	case errors.Is(err, context.DeadlineExceeded), pgconn.Timeout(err):
		return say(ErrUnreachable, nil, fmt.Sprintf("postgres: %s does not answer in time: check the address, firewalls and network policies, or correct %s", at, urlFlag))
	default:
		return say(ErrUnreachable, nil, fmt.Sprintf("postgres: cannot connect to %s (%s): check the server, or correct %s", at, detail, urlFlag))
	}
}

// describeServer covers what the server itself answered.
func describeServer(pe *pgconn.PgError, cfg *pgx.ConnConfig, at string) error {
	said := scrub(pe.Message, cfg.Password)
	switch {
	case pe.Code == "28P01":
		return say(ErrAuth, pe, fmt.Sprintf("postgres: the server at %s refuses the password of user %q: correct user and password in %s", at, cfg.User, urlFlag))
	case strings.HasPrefix(pe.Code, "28"):
		return say(ErrAuth, pe, fmt.Sprintf("postgres: the server at %s refuses user %q (%s): allow the user and this address in its pg_hba.conf, or correct %s", at, cfg.User, said, urlFlag))
	case pe.Code == "3D000":
		return say(ErrNoDatabase, pe, fmt.Sprintf("postgres: database %q does not exist at %s: create it (createdb %[1]s), or name another in %[3]s", cfg.Database, at, urlFlag))
	case pe.Code == "42501":
		return say(ErrPermission, pe, fmt.Sprintf("postgres: user %q may not connect to database %q at %s (%s): grant CONNECT on it, or correct %s", cfg.User, cfg.Database, at, said, urlFlag))
	case pe.Code == "53300":
		return say(ErrUnreachable, pe, fmt.Sprintf("postgres: the server at %s has no connection to spare (%s): raise its max_connections, or lower pool_max_conns in %s", at, said, urlFlag))
	case strings.HasPrefix(pe.Code, "57P"):
		return say(ErrUnreachable, pe, fmt.Sprintf("postgres: the server at %s does not accept connections now (%s): wait for it, or name another with %s", at, said, urlFlag))
	case strings.Contains(pe.Message, "unsupported startup parameter"):
		return say(ErrUnsupported, pe, fmt.Sprintf("postgres: the pooler at %s does not pass session settings on (%s): name the server itself, or a pooler in session mode with ignore_startup_parameters, in %s", at, said, urlFlag))
	case strings.HasPrefix(pe.Code, "53"), strings.HasPrefix(pe.Code, "08006"):
		return say(ErrUnreachable, pe, fmt.Sprintf("postgres: the server at %s cannot serve now (%s): see its log, or name another with %s", at, said, urlFlag))
	default:
		return say(ErrUnsupported, pe, fmt.Sprintf("postgres: the server at %s turns this client away (%s, SQLSTATE %s): see its log, or name another with %s", at, said, pe.Code, urlFlag))
	}
}

// innermost returns the text of the deepest error of a chain: what libraries
// wrap around it repeats the address for every way they tried.
func innermost(err error) string {
	for {
		switch e := err.(type) { //nolint:errorlint // walks the chain itself
		case interface{ Unwrap() error }:
			if e.Unwrap() == nil {
				return err.Error()
			}
			err = e.Unwrap()
		case interface{ Unwrap() []error }:
			if len(e.Unwrap()) == 0 {
				return err.Error()
			}
			err = e.Unwrap()[0]
		default:
			return err.Error()
		}
	}
}

package role

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/weirmesh/weir/cmd/weir/internal/client"
	"github.com/weirmesh/weir/internal/access"
	accesspg "github.com/weirmesh/weir/internal/access/postgres"
)

// TokenFile is a file that holds a token.
type TokenFile struct {
	Path  string
	Token access.Token
}

// CLITokenName is the name of the token of the command line.
const CLITokenName = "cli"

// CLIToken is the token of the command line on the machine of a `weir up`.
func CLIToken(dataDir string) TokenFile {
	return TokenFile{Path: client.TokenFile(dataDir), Token: access.Token{Name: CLITokenName, Kind: access.KindToken, Role: access.Admin, CreatedBy: "weir up"}}
}

// GatewayToken is the token of the gateway within a `weir up`.
func GatewayToken(dataDir string) TokenFile {
	return TokenFile{Path: filepath.Join(dataDir, "access", "gateway.token"), Token: access.Token{
		Name: "gateway", Kind: access.KindInstance, Namespaces: []string{SystemNamespace}, CreatedBy: "weir up",
	}}
}

// KeepTokens makes sure that each file holds a token that counts, for those on
// this machine who need no login.
func KeepTokens(ctx context.Context, pool *pgxpool.Pool, files ...TokenFile) error {
	store := accesspg.NewStore(pool)
	for _, f := range files {
		if err := keepToken(ctx, store, f); err != nil {
			return err
		}
	}
	return nil
}

func keepToken(ctx context.Context, store *accesspg.Store, t TokenFile) error {
	raw, err := os.ReadFile(t.Path)
	if err == nil {
		_, err := store.TokenOf(ctx, access.HashSecret(strings.TrimSpace(string(raw))))
		if err == nil {
			return nil
		}
		if access.CodeOf(err) != access.NotFound {
			return err
		}
	}
	secret, _, err := store.RotateToken(ctx, t.Token)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(t.Path), 0o700); err != nil {
		return fmt.Errorf("keep the token %s: %w", t.Token.Name, err)
	}
	// Whole or not at all, and readable by nobody else.
	next := t.Path + ".new"
	if err := errors.Join(ignoreMissing(os.Remove(next)), os.WriteFile(next, []byte(secret+"\n"), 0o600), os.Rename(next, t.Path)); err != nil {
		return fmt.Errorf("keep the token %s: %w", t.Token.Name, err)
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

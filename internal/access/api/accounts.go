package api

import (
	"context"
	"net/http"

	"github.com/weirmesh/weir/internal/access"
	"github.com/weirmesh/weir/internal/httpapi"
)

// Accounts is a list of accounts.
type Accounts struct {
	Items []access.Account `json:"items" nullable:"false"`
}

// NewAccount asks for an account.
type NewAccount struct {
	Name       string      `json:"name" doc:"What audits call it: lower-case letters, digits, dots, dashes, underscores."`
	Role       access.Role `json:"role" enum:"viewer,operator,admin"`
	Namespaces []string    `json:"namespaces,omitempty" doc:"Those that bound the role; none for all." nullable:"false"`
	Password   string      `json:"password,omitempty" minLength:"12" maxLength:"256" doc:"Left out, a random one is made."`
}

// MadeAccount is a new account.
type MadeAccount struct {
	Account  access.Account `json:"account"`
	Password string         `json:"password,omitempty" doc:"The password that was made; it is shown this once."`
}

// AccountPatch is what is to become of an account.
type AccountPatch struct {
	Role       *access.Role `json:"role,omitempty" enum:"viewer,operator,admin"`
	Namespaces *[]string    `json:"namespaces,omitempty" doc:"Those that bound the role; empty for all." nullable:"false"`
	Disabled   *bool        `json:"disabled,omitempty" doc:"Whether nobody gets in by it, nor by its tokens."`
}

// NewPassword is a password that was made.
type NewPassword struct {
	Password string `json:"password" doc:"The new password; it is shown this once."`
}

type accountsOut struct {
	Body Accounts
}

type createAccountIn struct {
	Body NewAccount
}

type createAccountOut struct {
	CacheControl string `header:"Cache-Control"`
	Body         MadeAccount
}

type accountIn struct {
	Name string `path:"name" maxLength:"63"`
}

type changeAccountIn struct {
	Name string `path:"name" maxLength:"63"`
	Body AccountPatch
}

type accountOut struct {
	Body access.Account
}

type resetOut struct {
	CacheControl string `header:"Cache-Control"`
	Body         NewPassword
}

func (in *accountIn) object() string { return "account " + in.Name }

func (s *service) registerAccounts(a *httpapi.API) {
	httpapi.Register(a, httpapi.Op[struct{}]{
		Operation: operation("list-accounts", http.MethodGet, "/api/v1/accounts", "List the accounts of people"),
		Role:      access.Admin,
	}, func(ctx context.Context, _ *struct{}) (*accountsOut, error) {
		items, err := s.Store.Accounts(ctx)
		if items == nil {
			items = []access.Account{}
		}
		return &accountsOut{Body: Accounts{Items: items}}, err
	})
	create := operation("create-account", http.MethodPost, "/api/v1/accounts", "Make an account")
	create.DefaultStatus = http.StatusCreated
	httpapi.Register(a, httpapi.Op[createAccountIn]{
		Operation: create, Role: access.Admin, Write: true,
		Object: func(in *createAccountIn) string { return "account " + in.Body.Name },
	}, s.createAccount)
	change := operation("change-account", http.MethodPatch, "/api/v1/accounts/{name}", "Change what an account may do")
	change.Description = "What is left out stays. Ends all sessions of the account. Tokens that it owns do not count while it is disabled, and count again once it is not. The last one that may manage people stays so."
	httpapi.Register(a, httpapi.Op[changeAccountIn]{
		Operation: change, Role: access.Admin, Write: true, Object: func(in *changeAccountIn) string { return "account " + in.Name },
	}, s.changeAccount)
	remove := operation("delete-account", http.MethodDelete, "/api/v1/accounts/{name}", "Delete an account")
	remove.Description = "Ends all its sessions and revokes the tokens that it owns. The last one that may manage people cannot be deleted, nor one's own."
	remove.DefaultStatus = http.StatusNoContent
	httpapi.Register(a, httpapi.Op[accountIn]{
		Operation: remove, Role: access.Admin, Write: true, Object: (*accountIn).object,
	}, func(ctx context.Context, in *accountIn) (*struct{}, error) {
		if own(ctx, in.Name) {
			return nil, notOneself("delete")
		}
		defer s.Proven.Forget()
		return nil, s.Store.DeleteAccount(ctx, in.Name)
	})
	reset := operation("reset-password", http.MethodPost, "/api/v1/accounts/{name}/reset-password", "Give an account a new random password")
	reset.Description = "Ends all sessions of the account. A disabled one stays so."
	httpapi.Register(a, httpapi.Op[accountIn]{
		Operation: reset, Role: access.Admin, Write: true, Object: (*accountIn).object,
	}, func(ctx context.Context, in *accountIn) (*resetOut, error) {
		defer s.Proven.Forget()
		password, err := s.Store.SetPassword(ctx, in.Name, "")
		if err != nil {
			return nil, err
		}
		return &resetOut{CacheControl: "no-store", Body: NewPassword{Password: password}}, nil
	})
}

func (s *service) createAccount(ctx context.Context, in *createAccountIn) (*createAccountOut, error) {
	want := access.Account{Name: in.Body.Name, Role: in.Body.Role, Namespaces: in.Body.Namespaces}
	made, password, err := s.Store.CreateAccount(ctx, want, in.Body.Password)
	if err != nil {
		return nil, err
	}
	if in.Body.Password != "" {
		password = "" // who gave it knows it
	}
	return &createAccountOut{CacheControl: "no-store", Body: MadeAccount{Account: made, Password: password}}, nil
}

func (s *service) changeAccount(ctx context.Context, in *changeAccountIn) (*accountOut, error) {
	if in.Body.Disabled != nil && *in.Body.Disabled && own(ctx, in.Name) {
		return nil, notOneself("disable")
	}
	// Whatever comes of it: what is not answered may have been done.
	defer s.Proven.Forget()
	changed, err := s.Store.ChangeAccount(ctx, in.Name, access.AccountChange(in.Body))
	if err != nil {
		return nil, err
	}
	return &accountOut{Body: changed}, nil
}

// own reports whether a request acts as the account of a name.
func own(ctx context.Context, name string) bool {
	p, _ := access.From(ctx)
	return p.Kind == access.KindUser && p.Name == name
}

func notOneself(what string) error {
	return &access.Error{Code: access.Conflict, Message: "nobody may " + what + " the account they act as", Fix: "ask another admin to do it"}
}

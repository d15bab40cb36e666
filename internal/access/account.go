package access

import "time"

// Account is a person who logs in with a password.
type Account struct {
	Name       string    `json:"name" doc:"What one logs in with."`
	Role       Role      `json:"role" doc:"What it may do." enum:"viewer,operator,admin"`
	Namespaces []string  `json:"namespaces" doc:"Those that bound the role; empty for all." nullable:"false"`
	Created    time.Time `json:"created" doc:"When it was made."`
	// Disabled keeps the account, for audits to name, and lets nobody in by it.
	Disabled bool `json:"disabled,omitempty" doc:"Nobody gets in by it, nor by its tokens."`
	// LastLogin is zero for an account that nobody has logged in with yet.
	LastLogin time.Time `json:"lastLogin,omitzero" doc:"Missing where nobody has yet."`
	// Tokens do not count while the account is disabled, and end with it.
	Tokens int `json:"tokens,omitempty" doc:"How many API tokens it owns, expired and revoked ones left out; the list tells it."`
}

// Principal is who acts in a session of the account.
func (a Account) Principal() Principal {
	return Principal{Kind: KindUser, Name: a.Name, Role: a.Role, Namespaces: a.Namespaces}
}

// Manages reports whether one who logs in by the account may manage people: it
// takes the role admin, unbounded, since accounts belong to no namespace.
func (a Account) Manages() bool {
	return !a.Disabled && a.Principal().Can(Admin, "")
}

// Validate checks what was asked of a new account.
func (a Account) Validate() error {
	if !namePattern.MatchString(a.Name) {
		return invalid("name", "an account's name is 1 to 63 lower-case letters, digits, dots, dashes and underscores", "choose one such as mei.chen")
	}
	return a.validateRole()
}

func (a Account) validateRole() error {
	if !a.Role.Valid() {
		return invalid("role", "an account needs a role", "choose viewer, operator or admin")
	}
	return validateNamespaces(a.Namespaces)
}

// AccountChange is what is to become of an account; what is nil stays.
type AccountChange struct {
	Role       *Role
	Namespaces *[]string // empty for all
	Disabled   *bool
}

// Apply returns the account as the change makes it. Errors: Invalid.
func (c AccountChange) Apply(a Account) (Account, error) {
	if c.Role != nil {
		a.Role = *c.Role
	}
	if c.Namespaces != nil {
		a.Namespaces = append([]string{}, *c.Namespaces...)
	}
	if c.Disabled != nil {
		a.Disabled = *c.Disabled
	}
	return a, a.validateRole()
}

// ValidatePassword checks a password that a person chose.
func ValidatePassword(password string) error {
	if len(password) < MinPassword || len(password) > MaxPassword {
		return invalid("password", "a password has 12 to 256 bytes", "choose another")
	}
	return nil
}

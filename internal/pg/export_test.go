//go:build unix

package pg

// Untied returns cfg for a server that outlives the process that starts it, as
// servers do where the kernel cannot tie them.
func Untied(cfg ServerConfig) ServerConfig {
	cfg.untied = true
	return cfg
}

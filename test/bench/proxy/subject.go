//go:build linux

package proxy

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/weirmesh/weir/test/bench/child"
	"github.com/weirmesh/weir/test/bench/turns"
)

// Roles of this program.
const (
	RoleBackend = "proxy-backend"
	RoleGateway = "proxy-gateway"
)

// serveBackend answers every request with the same bytes.
func serveBackend(size int) (address string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	body := make([]byte, size)
	for i := range body {
		body[i] = 'x'
	}
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write(body) // a proxy that left is seen by the load
	})}
	go func() { _ = srv.Serve(l) }() // until the process ends
	return l.Addr().String(), nil
}

// freePort returns a port of loopback that nobody listens at just now.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// nginx keeps connections to its upstream and logs nothing, as it should for a
// fair comparison: its defaults do neither.
const nginxConfig = `daemon off;
worker_processes 1;
error_log stderr error;
pid %[1]s/nginx.pid;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path %[1]s/body;
  proxy_temp_path %[1]s/proxy;
  fastcgi_temp_path %[1]s/fastcgi;
  uwsgi_temp_path %[1]s/uwsgi;
  scgi_temp_path %[1]s/scgi;
  keepalive_requests 100000000;
  upstream backend { server %[3]s; keepalive 256; keepalive_requests 100000000; }
  server {
    listen %[2]s;
    location / {
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_pass http://backend;
    }
  }
}
`

func startNginx(dir, backend string) (*turns.Subject, error) {
	program, err := find("nginx")
	if err != nil {
		return nil, err
	}
	address, err := freePort()
	if err != nil {
		return nil, err
	}
	dir = filepath.Join(dir, "nginx")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, nginxConfig, dir, address, backend), 0o600); err != nil {
		return nil, err
	}
	p, err := child.Launch("nginx", dir, program, "-p", dir, "-c", config, "-e", "stderr")
	return &turns.Subject{Name: "nginx", Address: address, Process: p}, err
}

const caddyConfig = `{
	admin off
	auto_https off
	log {
		level ERROR
	}
}
http://%s {
	bind 127.0.0.1
	reverse_proxy %s {
		transport http {
			keepalive_idle_conns_per_host 256
		}
	}
}
`

func startCaddy(dir, backend string) (*turns.Subject, error) {
	program, err := find("caddy")
	if err != nil {
		return nil, err
	}
	address, err := freePort()
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	dir = filepath.Join(dir, "caddy")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(config, fmt.Appendf(nil, caddyConfig, ":"+port, backend), 0o600); err != nil {
		return nil, err
	}
	p, err := child.Launch("caddy", dir, "env", "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir, program, "run", "--config", config, "--adapter", "caddyfile")
	return &turns.Subject{Name: "Caddy", Address: address, Process: p}, err
}

func find(program string) (string, error) {
	for _, path := range []string{program, "/usr/sbin/" + program} {
		if found, err := exec.LookPath(path); err == nil {
			return found, nil
		}
	}
	return "", fmt.Errorf("%s is missing: make bench in the repository's root installs it", program)
}

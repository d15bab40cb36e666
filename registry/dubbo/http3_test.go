package dubbo

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dubbo.apache.org/dubbo-go/v3/client"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/global"
	dubbotls "dubbo.apache.org/dubbo-go/v3/tls"

	"github.com/weirmesh/weir/internal/testprocess"
	"github.com/weirmesh/weir/registry/memory"
)

// selfSigned writes a certificate for this machine into a directory.
func selfSigned(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: cert}, "key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// sockets counts this process's sockets over UDP, and its TCP connections to a port,
// by what the kernel says of them.
func sockets(t *testing.T, port int) (udp, tcp int) {
	t.Helper()
	mine := map[string]bool{}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("this system does not tell of a process's sockets: ", err)
	}
	for _, fd := range fds {
		to, _ := os.Readlink("/proc/self/fd/" + fd.Name()) // it may be closed by now
		mine[strings.TrimSuffix(strings.TrimPrefix(to, "socket:["), "]")] = true
	}
	for _, table := range []string{"udp", "udp6", "tcp", "tcp6"} {
		f, err := os.Open("/proc/self/net/" + table)
		if err != nil {
			continue // a machine without IPv6
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			fields := strings.Fields(lines.Text()) // number, local, remote, …, inode
			switch {
			case len(fields) < 10 || !mine[fields[9]]:
			case strings.HasPrefix(table, "udp"):
				udp++
			case strings.HasSuffix(fields[2], fmt.Sprintf(":%04X", port)):
				tcp++
			}
		}
		f.Close()
	}
	return udp, tcp
}

// Over HTTP/3 an invoker has two connections and a socket, and leaves none of them.
func TestTripleHangsUpOverHTTP3(t *testing.T) {
	world := memory.New()
	ports := testprocess.FreePorts(t, 2)
	cfg := providerOf(newBridge(t, world, false), "p1", ports)
	cfg.Servers, cfg.TLS = cfg.Servers[1:], selfSigned(t)
	start(t, cfg)
	backend, c := memoryBackend(t, world)
	eventually(t, "the provider is registered", func() bool { return instances(t, c, "greeter")["p1"].Revision != "" })
	consumer := newConsumer(t, backend, false)
	udpBefore, _ := sockets(t, ports[1])
	cli, err := consumer.ins.NewClient(client.WithClientTLSOption(dubbotls.WithCACertFile(filepath.Join(cfg.TLS, "cert.pem"))))
	if err != nil {
		t.Fatal(err)
	}
	opts := append([]client.ReferenceOption{
		client.WithProtocol(constant.TriProtocol), client.WithRequestTimeout(10 * time.Second), client.WithRetries(0),
		func(o *client.ReferenceOptions) {
			o.Reference.ProtocolClientConfig.TripleConfig = &global.TripleConfig{Http3: &global.Http3Config{Enable: true, Negotiation: true}}
		},
	}, withoutStubs...)
	conn, err := cli.Dial(triple, opts...)
	if err != nil {
		t.Fatal(err)
	}
	overHTTP3 := func() bool {
		answers(t, conn, "p1")
		udp, _ := sockets(t, ports[1])
		return udp > udpBefore
	}
	eventually(t, "HTTP/3 is spoken", overHTTP3)
	i := instances(t, c, "greeter")["p1"]
	for n := range 5 {
		i.Details.Started = i.Details.Started.Add(time.Second) // a new process, whose invoker is new
		world.PutInstance(app("greeter"), i)
		eventually(t, "HTTP/3 is spoken", overHTTP3)
		udp, tcp := sockets(t, ports[1])
		t.Logf("after %d changes there are %d sockets over UDP and %d connections over TCP", n+1, udp-udpBefore, tcp)
	}
	eventually(t, "one of each is left", func() bool {
		answers(t, conn, "p1")
		udp, tcp := sockets(t, ports[1])
		return udp-udpBefore <= 1 && tcp <= 1
	})
}

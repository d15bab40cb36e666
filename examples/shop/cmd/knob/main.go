// Knob makes services of the shop slow or faulty for a while, in all their pods
// at once, so that what guards them can be watched at work:
//
//	knob inventory reserve -errors 60 -latency 300ms -for 1m
//	knob inventory            # what is turned
//	knob inventory -reset     # turn all back
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"shop.example/internal/knob"
)

const usage = `Usage: knob APP [OPERATION] [flags]

Makes an operation of a service slow or faulty in all its pods; without an
operation it shows what is turned. Operations are reserve and stock of inventory
and quote of pricing.

Flags:
`

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, out, errs io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := work(ctx, args, out); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(errs, "knob:", err)
		return 1
	}
	return 0
}

func work(ctx context.Context, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("knob", flag.ContinueOnError)
	kubeconfig := fs.String("kubeconfig", env("KUBECONFIG", "data/devcluster/admin.kubeconfig"), "`file` of the cluster, or KUBECONFIG")
	namespace := fs.String("namespace", "shop", "`namespace` of the shop")
	percent := fs.Float64("errors", 0, "`percent` of calls that fail")
	latency := fs.Duration("latency", 0, "`time` added to each call")
	lasts := fs.Duration("for", knob.DefaultFor, "`how long` it holds")
	reset := fs.Bool("reset", false, "turn all knobs of the service back")
	fs.Usage = func() { fmt.Fprint(fs.Output(), usage); fs.PrintDefaults() }
	names, err := parse(fs, args)
	if err != nil {
		return err
	}
	if len(names) == 0 || len(names) > 2 {
		fs.Usage()
		return errors.New("name the service, such as inventory, and perhaps one operation")
	}
	method, body := "GET", []byte(nil)
	switch {
	case *reset:
		method = "DELETE"
	case len(names) == 2:
		method = "PUT"
		body, err = json.Marshal(map[string]knob.Setting{names[1]: {
			Latency: knob.Duration(*latency), ErrorPercent: *percent, For: knob.Duration(*lasts),
		}})
		if err != nil {
			return err
		}
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return fmt.Errorf("%w; name the cluster's kubeconfig with -kubeconfig", err)
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	return turn(ctx, client, *namespace, names[0], method, body, out)
}

// parse takes names before, between and after flags.
func parse(fs *flag.FlagSet, args []string) (names []string, err error) {
	for {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		if fs.NArg() == 0 {
			return names, nil
		}
		names = append(names, fs.Arg(0))
		args = fs.Args()[1:]
	}
}

// turn asks each pod of the app by way of the API server, which reaches pods
// from wherever it is reached itself.
func turn(ctx context.Context, client *kubernetes.Clientset, namespace, app, method string, body []byte, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	pods, err := client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + app})
	if err != nil {
		return err
	}
	if len(pods.Items) == 0 {
		return fmt.Errorf("there are no pods of %s in namespace %s", app, namespace)
	}
	var errs []error
	for i := range pods.Items {
		pod := pods.Items[i].Name
		answer, err := client.CoreV1().RESTClient().Verb(method).Namespace(namespace).Resource("pods").
			SubResource("proxy").Name(pod+":8081").Suffix("knobs").Body(body).SetHeader("Content-Type", "application/json").DoRaw(ctx)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w: %s", pod, err, bytes.TrimSpace(answer)))
			continue
		}
		fmt.Fprintf(out, "%s  %s\n", pod, bytes.TrimSpace(answer))
	}
	return errors.Join(errs...)
}

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

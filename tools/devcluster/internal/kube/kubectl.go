package kube

import (
	"os"

	"k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
)

// Kubectl runs kubectl with its own command line. Where kubectl fails it prints
// why and ends the process with the exit code that its users rely on.
func Kubectl(args []string) error {
	os.Args = append([]string{"kubectl"}, args...)
	util.CheckErr(cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()))
	return nil
}

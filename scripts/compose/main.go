// Command compose reads a Compose file as `docker compose config` does, by the same library: interpolation, the specification's
// schema, and whether services, volumes and networks that are referred to exist. It prints the project as JSON, or says what is wrong.
package main

import (
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/cli"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: compose FILE")
		os.Exit(2)
	}
	text, err := read(os.Args[1])
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
	fmt.Println(string(text))
}

func read(path string) ([]byte, error) {
	options, err := cli.NewProjectOptions([]string{path})
	if err != nil {
		return nil, err
	}
	project, err := cli.ProjectFromOptions(options)
	if err != nil {
		return nil, err
	}
	return project.MarshalJSON()
}

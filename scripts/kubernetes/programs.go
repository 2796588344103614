//go:build tools

// This file names KEDA's operator, so that `go mod tidy` keeps what it needs.
package main

import _ "github.com/kedacore/keda/v2/cmd/operator"

//go:build tools

// Package nsq names the programs to build, so that `go mod tidy` keeps what they need.
package nsq

import (
	_ "github.com/nsqio/nsq/apps/nsqd"
	_ "github.com/nsqio/nsq/apps/nsqlookupd"
)

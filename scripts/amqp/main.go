// Command amqp sends messages to a queue, or receives from one, by AMQP 1.0.
//
//	amqp send URL ADDRESS COUNT
//	amqp receive URL ADDRESS COUNT
//
// Both print "done" after COUNT messages and stay connected until their standard input ends.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/Azure/go-amqp"
)

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: amqp send|receive URL ADDRESS COUNT")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(action, url, address, number string) error {
	count, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	ctx := context.Background()
	connection, err := amqp.Dial(ctx, url, nil)
	if err != nil {
		return err
	}
	defer connection.Close()
	session, err := connection.NewSession(ctx, nil)
	if err != nil {
		return err
	}
	if action == "send" {
		err = send(ctx, session, address, count)
	} else {
		err = receive(ctx, session, address, count)
	}
	if err != nil {
		return err
	}
	fmt.Println("done")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func send(ctx context.Context, session *amqp.Session, address string, count int) error {
	sender, err := session.NewSender(ctx, address, nil)
	if err != nil {
		return err
	}
	for i := 0; i < count; i++ {
		if err := sender.Send(ctx, amqp.NewMessage([]byte("message")), nil); err != nil {
			return err
		}
	}
	return nil
}

func receive(ctx context.Context, session *amqp.Session, address string, count int) error {
	receiver, err := session.NewReceiver(ctx, address, &amqp.ReceiverOptions{Credit: 1})
	if err != nil {
		return err
	}
	for i := 0; i < count; i++ {
		message, err := receiver.Receive(ctx, nil)
		if err != nil {
			return err
		}
		if err := receiver.AcceptMessage(ctx, message); err != nil {
			return err
		}
	}
	return nil
}

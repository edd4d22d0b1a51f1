// A contender that is no work of ours, on etcd's own Go client, for the tests of neighbours (docs/faults.md).
// Owns the command line and the lines it prints; what a contender does is in reference.go and queue.go.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sys/unix"
)

// contender is what one process is to do.
type contender struct {
	client *clientv3.Client
	key    string // single key: the leader key; queue: the prefix
	value  string
	ttl    int64 // seconds
}

// line is one line of JSON on standard output; at is CLOCK_BOOTTIME in ns, as in the journals of our holders.
type line struct {
	Is     string `json:"is"` // "claims" or "lost"
	Key    string `json:"key"`
	Create int64  `json:"create"` // the revision at which the key was created
	At     int64  `json:"at"`
	Why    string `json:"why,omitempty"`
}

var out sync.Mutex

func say(is, key string, create int64, why string) {
	out.Lock()
	defer out.Unlock()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		fail(err)
	}
	text, err := json.Marshal(line{Is: is, Key: key, Create: create, At: now.Nano(), Why: why})
	if err != nil {
		fail(err)
	}
	fmt.Println(string(text))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "neighbour:", err)
	os.Exit(1)
}

func main() {
	endpoint := flag.String("endpoint", "127.0.0.1:2379", "etcd's client address")
	key := flag.String("key", "", "the leader key, or the prefix of the queue")
	value := flag.String("value", "", "what the others see")
	ttl := flag.Int64("ttl", 2, "of the lease, in seconds")
	flag.Parse()

	client, err := clientv3.New(clientv3.Config{Endpoints: []string{*endpoint}, DialTimeout: 3 * time.Second})
	if err != nil {
		fail(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	self := contender{client: client, key: *key, value: *value, ttl: *ttl}
	switch flag.Arg(0) {
	case "reference":
		self.reference(ctx)
	case "concurrency":
		self.concurrency(ctx)
	default:
		fail(fmt.Errorf("usage: neighbour [flags] reference|concurrency"))
	}
	_ = client.Close()
}

// pause waits a moment before the next attempt.
func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(50 * time.Millisecond):
	}
}

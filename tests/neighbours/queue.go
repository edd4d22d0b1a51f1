// A leader by etcd's own election package: one session, one campaign, until the session ends; then the next.
// Owns that one contender; what it prints is in main.go.

package main

import (
	"context"
	"time"

	"go.etcd.io/etcd/client/v3/concurrency"
)

func (c contender) concurrency(ctx context.Context) {
	for ctx.Err() == nil {
		session, err := concurrency.NewSession(c.client, concurrency.WithTTL(int(c.ttl)))
		if err != nil {
			pause(ctx)
			continue
		}
		c.stand(ctx, session)
		_ = session.Close()
	}
}

// stand campaigns once, and leads until the session or the process is to end.
func (c contender) stand(ctx context.Context, session *concurrency.Session) {
	// A campaign does not look at its session by itself.
	campaigning, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-session.Done():
			cancel()
		case <-campaigning.Done():
		}
	}()
	election := concurrency.NewElection(session, c.key)
	if err := election.Campaign(campaigning, c.value); err != nil {
		pause(ctx)
		return
	}
	key, create := election.Key(), election.Rev()
	say("claims", key, create, "")
	select {
	case <-ctx.Done():
		say("lost", key, create, "resigned")
		resigning, done := context.WithTimeout(context.Background(), time.Second)
		defer done()
		_ = election.Resign(resigning)
	case <-session.Done():
		say("lost", key, create, "session")
	}
}

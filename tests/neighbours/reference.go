// The protocol of the single-key election packages that grew up around etcd, as they speak it: a lease, a transaction
// that creates the key if it is absent, a renewal by single calls every third of the TTL, a local expiry counted from
// before each call, guards that compare the value. No mark, no registration, no watch of the own key.
// Owns that one contender; what it prints is in main.go.

package main

import (
	"context"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Between two looks of a leader at its own lease.
const tick = 50 * time.Millisecond

// Between two guarded writes of a leader.
const writeEvery = 200 * time.Millisecond

func (c contender) reference(ctx context.Context) {
	for ctx.Err() == nil {
		held, err := c.client.Get(ctx, c.key)
		switch {
		case err != nil:
			pause(ctx)
		case len(held.Kvs) > 0:
			c.follow(ctx, held.Header.Revision+1)
		default:
			c.campaign(ctx)
		}
	}
}

// follow waits until the key is deleted.
func (c contender) follow(ctx context.Context, from int64) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for reply := range c.client.Watch(clientv3.WithRequireLeader(ctx), c.key, clientv3.WithRev(from)) {
		if reply.Err() != nil {
			pause(ctx)
			return
		}
		for _, event := range reply.Events {
			if event.Type == clientv3.EventTypeDelete {
				return
			}
		}
	}
}

func (c contender) campaign(ctx context.Context) {
	began := time.Now()
	ttl := time.Duration(c.ttl) * time.Second
	calls, cancel := context.WithTimeout(ctx, ttl)
	defer cancel()
	lease, err := c.client.Grant(calls, c.ttl)
	if err != nil {
		pause(ctx)
		return
	}
	defer c.revoke(lease.ID)
	absent := clientv3.Compare(clientv3.CreateRevision(c.key), "=", 0)
	won, err := c.client.Txn(calls).If(absent).Then(clientv3.OpPut(c.key, c.value, clientv3.WithLease(lease.ID))).Commit()
	if err != nil || !won.Succeeded {
		return
	}
	say("claims", c.key, won.Header.Revision, "")
	say("lost", c.key, won.Header.Revision, c.lead(ctx, lease, began))
}

// lead renews and writes until the term is over, and says why it is.
func (c contender) lead(ctx context.Context, lease *clientv3.LeaseGrantResponse, began time.Time) string {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var expires atomic.Int64 // nanoseconds after began
	expires.Store((time.Duration(lease.TTL) * time.Second).Nanoseconds())
	go c.renew(ctx, lease, began, &expires)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var written time.Time
	for {
		if time.Since(began).Nanoseconds() >= expires.Load() {
			return "expired"
		}
		if time.Since(written) >= writeEvery {
			written = time.Now()
			mine := clientv3.Compare(clientv3.Value(c.key), "=", c.value)
			calls, done := context.WithTimeout(ctx, writeEvery)
			reply, err := c.client.Txn(calls).If(mine).Then(clientv3.OpPut("written-by/"+c.value, c.key)).Commit()
			done()
			if err == nil && !reply.Succeeded {
				return "refused"
			}
		}
		select {
		case <-ctx.Done():
			return "resigned"
		case <-ticker.C:
		}
	}
}

// renew makes one call every third of the TTL, each on its own, as late as the others may be.
func (c contender) renew(ctx context.Context, lease *clientv3.LeaseGrantResponse, began time.Time, expires *atomic.Int64) {
	ttl := time.Duration(lease.TTL) * time.Second
	ticker := time.NewTicker(ttl / 3)
	defer ticker.Stop()
	for {
		go func() {
			sent := time.Now()
			calls, done := context.WithTimeout(ctx, ttl)
			defer done()
			reply, err := c.client.KeepAliveOnce(calls, lease.ID)
			if err != nil || reply.TTL <= 0 {
				return
			}
			until := sent.Add(time.Duration(reply.TTL) * time.Second).Sub(began).Nanoseconds()
			for before := expires.Load(); before < until && !expires.CompareAndSwap(before, until); before = expires.Load() {
			}
		}()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// revoke lets the key go with its lease, also of a process that is about to end.
func (c contender) revoke(id clientv3.LeaseID) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, _ = c.client.Revoke(ctx, id)
}

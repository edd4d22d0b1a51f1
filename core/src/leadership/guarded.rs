//! A write that only this very term can make: the user's transaction inside the term's guard.
//! Owns sending it and what its answers mean; its exact content is `protocol`'s.

use std::rc::Rc;
use std::sync::Arc;

use super::TermHandle;
use crate::client::Client;
use crate::io::Io;
use crate::error::{Error, Reason, Result, show};
use crate::etcd::{Ask, Failure};
use crate::protocol::{self, Compare, GuardReply, Op, OpReply, Txn, TxnReply};
use crate::release;
use crate::term::TermShared;

/// A transaction that etcd applies only while this very term holds the key: `If(guard) Then(your if/then/else)`.
/// A failed guard applies nothing, your else included.
///
/// The guard compares the key's CREATE revision and its LEASE, never the value: values repeat.
#[derive(Debug, Clone)]
#[must_use = "a transaction does nothing until it is committed"]
pub struct GuardedTxn {
    client: Client,
    term: Arc<TermShared>,
    txn: Txn,
}

impl TermHandle {
    /// A transaction guarded by this term.
    pub fn txn(&self) -> GuardedTxn {
        GuardedTxn {
            client: self.client.clone(),
            term: self.shared.clone(),
            txn: Txn::default(),
        }
    }

    /// Writes another key while this very term still holds the election's: [`txn`](Self::txn) in one line.
    ///
    /// # Errors
    /// As [`commit`](GuardedTxn::commit): `NotLeader` (nothing was written), `OutcomeUnknown`; `InvalidArgument` names
    /// `key` or `value`.
    pub async fn put(&self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Result<()> {
        let (key, value) = (key.into(), value.into());
        protocol::check_size("value", value.len())?;
        self.one(Op::put(key, value)).await.map(drop)
    }

    /// Deletes another key while this very term still holds the election's, and says whether it was there.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub async fn delete(&self, key: impl Into<Vec<u8>>) -> Result<bool> {
        let reply = self.one(Op::delete(key)).await?;
        Ok(matches!(reply.replies.first(), Some(OpReply::Delete { deleted, .. }) if *deleted > 0))
    }

    async fn one(&self, op: Op) -> Result<TxnReply> {
        self.client.ensure_usable()?;
        let txn = self.txn().then([op]);
        txn.check_ops("key", &txn.txn.then)?;
        txn.commit().await
    }
}

impl GuardedTxn {
    /// Conditions of your own; if one does not hold, `or_else` is applied and `succeeded` is false.
    pub fn when(mut self, compares: impl IntoIterator<Item = Compare>) -> Self {
        self.txn.when.extend(compares);
        self
    }

    /// What to do if they hold. At most 126 operations.
    pub fn then(mut self, ops: impl IntoIterator<Item = Op>) -> Self {
        self.txn.then.extend(ops);
        self
    }

    /// What to do if they do not.
    pub fn or_else(mut self, ops: impl IntoIterator<Item = Op>) -> Self {
        self.txn.otherwise.extend(ops);
        self
    }

    /// Sends it. A dropped future may or may not have been applied.
    ///
    /// # Errors
    /// `NotLeader` (nothing was applied; if etcd said so, the term has ended), `OutcomeUnknown` (the reply was lost),
    /// `InvalidArgument` (`when`, `then`, `or_else`), `Unavailable` (not applied), `PermissionDenied`, `Closed`,
    /// `Forked`.
    pub async fn commit(self) -> Result<TxnReply> {
        self.client.ensure_usable()?;
        self.check_ops("then", &self.txn.then)?;
        self.check_ops("or_else", &self.txn.otherwise)?;
        if self.txn.when.len() > protocol::MAX_USER_OPS {
            return Err(Error::invalid("when", format!("more than {} conditions", protocol::MAX_USER_OPS)));
        }
        if self.txn.when.iter().any(|compare| compare.key.is_empty()) {
            return Err(Error::invalid("when", "a condition on an empty key"));
        }
        protocol::check_compares_size("when", &self.txn.when)?;
        TermHandle {
            shared: self.term.clone(),
            client: self.client.clone(),
        }
        .ensure_valid()?;
        self.client.run(move |io, _| commit(io, self.term, self.txn)).await
    }

    fn check_ops(&self, argument: &str, ops: &[Op]) -> Result<()> {
        let key = &self.term.holding.key;
        if self.term.queued {
            return protocol::check_queue_ops(argument, protocol::queue_of(key), ops);
        }
        protocol::check_user_ops(argument, key, ops)
    }
}

async fn commit(io: Rc<Io>, term: Arc<TermShared>, user: Txn) -> Result<TxnReply> {
    let key = term.holding.key.clone();
    let ask = Ask {
        repeat: false,
        ..io.etcd.repeatable("guarded transaction", &key)
    };
    let mut guard = term.holding.guard();
    let mut txn = protocol::guarded(&guard, user);
    let failure = loop {
        let got = match io.etcd.txn(ask, &txn).await {
            Ok(got) => got,
            Err(failure) => break failure,
        };
        let revision = got.body.revision;
        let kv = match protocol::guard_reply(got.body) {
            Some(GuardReply::Held(reply)) => return Ok(reply),
            Some(GuardReply::Failed(kv)) => kv,
            None => return Err(Error::internal("a guarded transaction answered without the user's part")),
        };
        // A term never ends by its own move: while the key is mine, the guard is rebuilt with its lease of now.
        let moved = term.judge(kv.as_ref(), revision).is_none();
        if moved && term.deadline.valid() {
            guard.lease = kv.filter(|kv| term.holding.holds(Some(kv))).map_or(term.holding.lease(), |kv| kv.lease);
            txn.when = guard.compares();
            continue;
        }
        if !moved && term.deadline.end(Reason::GuardFailed) {
            release::lost(&io, &term);
        }
        return Err(Error::not_leader(&key, term.deadline.lost()));
    };
    match failure {
        Failure::NotApplied(Error::NotLeader { .. }) => {
            Err(Error::invalid("then", "an operation names a lease that does not exist"))
        }
        Failure::NotApplied(error) => Err(error),
        Failure::Unknown(message) => Err(Error::OutcomeUnknown {
            message,
            read: format!("a key that the transaction writes, and {}", show(&key)),
        }),
    }
}

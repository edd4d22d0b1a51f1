//! Every transaction of the single-key kind, built and read: register, campaign, guard, release, look.
//! Owns their exact content; `leadership/` decides which to send, and `etcd/` sends it.

use super::{
    Compare, Key, KeyValue, Leader, Mark, Op, OpReply, Target, Txn, TxnReply, mark_key, paused_key, registration_key,
};

/// The compares that make a transaction fail unless this very term still holds the key. Never the value (ABA).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Guard {
    pub(crate) key: Key,
    pub(crate) create: i64,
    pub(crate) lease: i64,
}

impl Guard {
    pub(crate) fn compares(&self) -> Vec<Compare> {
        vec![
            Compare::is(&self.key, Target::Create(self.create)),
            Compare::is(&self.key, Target::Lease(self.lease)),
        ]
    }
}

/// Reads keys, each by a Get of its own: never empty, so always linearizable (S4).
pub(crate) fn get<'a>(keys: impl IntoIterator<Item = &'a [u8]>) -> Txn {
    Txn {
        then: keys.into_iter().map(Op::get).collect(),
        ..Txn::default()
    }
}

/// Reads the leader and the mark in one transaction, so that everybody derives the same token (S10).
pub(crate) fn leader(key: &[u8], with_mark: bool) -> Txn {
    let mark = mark_key(key);
    get(std::iter::once(key).chain(with_mark.then_some(mark.as_slice())))
}

/// Reads the reply of [`leader`].
pub(crate) fn leader_reply(reply: &TxnReply, with_mark: bool) -> Option<Leader> {
    let kv = reply.first(0)?;
    let mut leader = Leader::from_key(kv);
    if with_mark {
        let mark = reply.first(1).map_or(0, |mark| mark.mod_revision);
        leader.token = Some(kv.create_revision.max(mark));
    }
    Some(leader)
}

/// What a campaign needs.
#[derive(Debug, Clone)]
pub(crate) struct Campaign<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    pub(crate) lease: i64,
    /// The revision of our registration; `None` if our role may not write one.
    pub(crate) registration: Option<i64>,
    /// May the mark be written and read, and the pause read?
    pub(crate) mark: bool,
    pub(crate) compares: &'a [Compare],
}

/// Takes an absent key. One registration, one win (S7): the transaction compares it and deletes it, so a repetition,
/// or a put that arrives late, cannot win twice.
pub(crate) fn campaign(c: &Campaign<'_>) -> Txn {
    let registration = registration_key(c.key, c.lease);
    let mut txn = Txn {
        when: vec![Compare::is(c.key, Target::Create(0))],
        then: vec![Op::put_with_lease(c.key, c.value, c.lease)],
        otherwise: vec![Op::get(c.key)],
    };
    if let Some(revision) = c.registration {
        txn.when.push(Compare::is(&registration, Target::Create(revision)));
        txn.then.push(Op::delete(registration.clone()));
        txn.otherwise.push(Op::get(registration));
    }
    if c.mark {
        txn.then.push(Op::delete_returning(&mark_key(c.key)));
        let paused = paused_key(c.key);
        txn.when.push(Compare::is(&paused, Target::Create(0)));
        txn.otherwise.push(Op::get(paused));
    }
    txn.when.extend(c.compares.iter().cloned());
    txn
}

/// What a campaign's reply says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CampaignReply {
    /// The key was taken by this very transaction.
    Won { create: i64, removed_mark: Option<KeyValue> },
    /// The key is ours already: an earlier sending of the same campaign won.
    WonEarlier { create: i64 },
    /// Another holds the key.
    Held(Leader),
    /// The key is free and the registration stands: a compare of the caller's failed.
    CompareFailed,
    /// The key is free and the registration is gone: somebody used it up.
    RegistrationGone,
    /// The key is free, and the election paused.
    Paused,
}

/// Reads the reply of [`campaign`].
pub(crate) fn campaign_reply(c: &Campaign<'_>, reply: &TxnReply) -> CampaignReply {
    if reply.succeeded {
        let removed_mark = reply.replies.iter().find_map(|reply| match reply {
            OpReply::Delete { previous, .. } => previous.first().cloned(),
            _ => None,
        });
        return CampaignReply::Won {
            create: reply.revision,
            removed_mark,
        };
    }
    match (reply.first(0), c.registration) {
        // Without a registration it was sent once, and this is its reply: the key was ours before.
        (Some(kv), Some(made)) if kv.lease == c.lease && kv.create_revision > made => {
            CampaignReply::WonEarlier {
                create: kv.create_revision,
            }
        }
        (Some(kv), _) => CampaignReply::Held(Leader::from_key(kv)),
        (None, Some(made)) if reply.first(1).is_none_or(|kv| kv.create_revision != made) => {
            CampaignReply::RegistrationGone
        }
        (None, made) if c.mark && reply.first(1 + usize::from(made.is_some())).is_some() => CampaignReply::Paused,
        (None, _) => CampaignReply::CompareFailed,
    }
}

/// A user's transaction inside the guard: a failed guard applies nothing of it, its else included.
pub(crate) fn guarded(guard: &Guard, user: Txn) -> Txn {
    Txn {
        when: guard.compares(),
        then: vec![Op(super::OpKind::Txn(user))],
        otherwise: vec![Op::get(&*guard.key)],
    }
}

/// What a guarded transaction's reply says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GuardReply {
    /// The guard held; this is the user's own reply.
    Held(TxnReply),
    /// The guard failed; nothing was applied. This is the key as etcd holds it.
    Failed(Option<KeyValue>),
}

/// Reads the reply of [`guarded`].
pub(crate) fn guard_reply(reply: TxnReply) -> Option<GuardReply> {
    if !reply.succeeded {
        return Some(GuardReply::Failed(reply.first(0).cloned()));
    }
    let revision = reply.revision;
    match reply.replies.into_iter().next() {
        Some(OpReply::Txn(mut user)) => {
            user.revision = revision;
            Some(GuardReply::Held(user))
        }
        _ => None,
    }
}

/// Gives the own key another value, on the same lease: CREATE stays, and with it term and token. MOD fences: of two
/// sendings one is applied at most, and none after any later write of the key (S7).
pub(crate) fn proclaim(guard: &Guard, modified: i64, value: &[u8]) -> Txn {
    let mut when = guard.compares();
    when.push(Compare::is(&guard.key, Target::Mod(modified)));
    Txn {
        when,
        then: vec![Op::put_with_lease(&*guard.key, value, guard.lease)],
        otherwise: vec![Op::get(&*guard.key)],
    }
}

/// Deletes the own key. With `mark`, the token of the ended term is written beside it in the same transaction: only
/// for a term that was valid once and has been ended by its holder (S15). Compares MOD too: the holder's own writes
/// are one outstanding at a time (S7).
pub(crate) fn release(guard: &Guard, modified: i64, mark: Option<i64>) -> Txn {
    let mut txn = surrender(guard);
    txn.when.push(Compare::is(&guard.key, Target::Mod(modified)));
    if let Some(token) = mark {
        txn.then.push(Op::put(mark_key(&guard.key), Mark::holder(token)));
    }
    txn
}

/// Deletes a key that was won but never led: no mark, no MOD.
pub(crate) fn surrender(guard: &Guard) -> Txn {
    Txn {
        when: guard.compares(),
        then: vec![Op::delete(&*guard.key)],
        otherwise: vec![Op::get(&*guard.key)],
    }
}

/// Deletes a key if nobody has written it since `modified`.
pub(crate) fn release_at(key: &[u8], modified: i64) -> Txn {
    Txn {
        when: vec![Compare::is(key, Target::Mod(modified))],
        then: vec![Op::delete(key)],
        otherwise: vec![Op::get(key)],
    }
}

//! Owns the cases of authentication: who may do what, on calls and on streams, and how tokens live and die.
//! Leaves tokens on the members of a cluster to `cluster`.

use std::time::Duration;

use etcd_client::proto::{
    PbAuthDisableRequest, PbAuthEnableRequest, PbAuthRoleAddRequest, PbAuthUserAddRequest,
    PbAuthUserChangePasswordRequest, PbAuthUserGrantRoleRequest, PbAuthUserRevokeRoleRequest,
    PbCompare, PbDeleteRequest, PbLeaseGrantRequest, PbLeaseKeepAliveRequest, PbLeaseLeasesRequest,
    PbLeaseRevokeRequest, PbLeaseTimeToLiveRequest, PbMemberListRequest, PbPutRequest,
    PbRangeRequest, PbStatusRequest, PbTargetUnion, PbTxnOpRequest, PbTxnRequest, PbTxnRequestOp,
};
use leadership_tests::raw::{Grant, Raw, create, permission};
use tonic::Status;

use super::harness::{Ctx, Group, cases};

/// Tokens live so long after their last use.
const TOKEN_TTL: Duration = Duration::from_secs(3);
/// After this an unused token is dead: etcd looks once a second.
const TOKEN_DEAD: Duration = Duration::from_secs(5);

pub(crate) fn group() -> Group {
    Group {
        name: "auth",
        members: 1,
        token_ttl: TOKEN_TTL,
        fresh: true,
        cases: cases![
            turning_it_on_and_off,
            permissions_of_calls,
            permissions_of_transactions,
            permissions_of_leases,
            without_a_token,
            watches,
            a_dead_token,
            a_dead_token_on_streams,
            a_used_token_lives,
            renewals_use_the_token,
            changed_passwords_and_roles,
        ],
    }
}

async fn add_user(admin: &Raw, name: &str, roles: &[&str]) {
    admin
        .user_add(PbAuthUserAddRequest {
            name: name.into(),
            password: "secret".into(),
            ..Default::default()
        })
        .await
        .unwrap();
    for role in roles {
        admin
            .user_role(PbAuthUserGrantRoleRequest {
                user: name.into(),
                role: (*role).into(),
            })
            .await
            .unwrap();
    }
}

async fn add_role(admin: &Raw, role: &str, grants: &[(Grant, Vec<u8>, Vec<u8>)]) {
    admin
        .role_add(PbAuthRoleAddRequest { name: role.into() })
        .await
        .unwrap();
    for (grant, key, end) in grants {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        admin
            .role_permission(permission(role, *grant, &text(key), &text(end)))
            .await
            .unwrap();
    }
}

/// Turns it on and logs `root` in, as which the case goes on.
pub(crate) async fn enable(ctx: &mut Ctx) {
    add_role(&ctx.raw, "root", &[]).await;
    add_user(&ctx.raw, "root", &["root"]).await;
    ctx.raw
        .auth_enable(PbAuthEnableRequest::default())
        .await
        .unwrap();
    let token = ctx.raw.login("root", "secret").await.unwrap();
    ctx.raw = ctx.raw.with_token(token);
    ctx.rebase().await;
}

/// A user who reads `r` and `rr`, writes `w`, and does both from `m` before `p`.
async fn alice(ctx: &Ctx) -> Raw {
    let one = |name: &str| (ctx.key(name), Vec::new());
    let (read, too, write) = (one("r"), one("rr"), one("w"));
    let grants = [
        (Grant::Read, read.0, read.1),
        (Grant::Read, too.0, too.1),
        (Grant::Write, write.0, write.1),
        (Grant::ReadWrite, ctx.key("m"), ctx.key("n")),
        (Grant::ReadWrite, ctx.key("n"), ctx.key("p")),
    ];
    add_role(&ctx.raw, "some", &grants).await;
    add_user(&ctx.raw, "alice", &["some"]).await;
    let token = ctx.raw.login("alice", "secret").await.unwrap();
    ctx.raw.with_token(token)
}

fn done<T>(ctx: &mut Ctx, what: &str, answer: Result<T, Status>) {
    ctx.answer(what, answer, |_, _| "done".to_owned());
}

async fn turning_it_on_and_off(ctx: &mut Ctx) {
    let login = ctx.raw.login("root", "secret").await;
    done(ctx, "log in while it is off", login);
    let answer = ctx
        .raw
        .with_token("no token of any kind")
        .get(ctx.key("a"))
        .await;
    done(ctx, "some token while it is off", answer);
    let answer = ctx.raw.auth_enable(PbAuthEnableRequest::default()).await;
    done(ctx, "on without root", answer);
    add_user(&ctx.raw, "root", &[]).await;
    let answer = ctx.raw.auth_enable(PbAuthEnableRequest::default()).await;
    done(ctx, "on without its role", answer);
    add_role(&ctx.raw, "root", &[]).await;
    ctx.raw
        .user_role(PbAuthUserGrantRoleRequest {
            user: "root".into(),
            role: "root".into(),
        })
        .await
        .unwrap();
    let answer = ctx.raw.auth_enable(PbAuthEnableRequest::default()).await;
    done(ctx, "on", answer);
    for (what, name, password) in [
        ("nobody", "", ""),
        ("a stranger", "bob", "secret"),
        ("a wrong password", "root", "guess"),
    ] {
        let login = ctx.raw.login(name, password).await;
        done(ctx, what, login);
    }
    let answer = ctx.raw.get(ctx.key("a")).await;
    done(ctx, "without a token", answer);
    let answer = ctx
        .raw
        .with_token("no token of any kind")
        .get(ctx.key("a"))
        .await;
    done(ctx, "with a strange token", answer);
    let token = ctx.raw.login("root", "secret").await.unwrap();
    let root = ctx.raw.with_token(token);
    let answer = root.get(ctx.key("a")).await;
    done(ctx, "with root's", answer);
    let answer = ctx.raw.auth_disable(PbAuthDisableRequest::default()).await;
    done(ctx, "off without a token", answer);
    let answer = root.auth_disable(PbAuthDisableRequest::default()).await;
    done(ctx, "off", answer);
    let answer = root.get(ctx.key("a")).await;
    done(ctx, "root's old token", answer);
}

async fn permissions_of_calls(ctx: &mut Ctx) {
    enable(ctx).await;
    let alice = alice(ctx).await;
    for name in ["r", "w", "m", "o", "p", "x"] {
        let key = ctx.key(name);
        let answer = alice.get(key.clone()).await;
        done(ctx, &format!("get {name}"), answer);
        let answer = alice
            .put(PbPutRequest {
                key: key.clone(),
                ..Default::default()
            })
            .await;
        done(ctx, &format!("put {name}"), answer);
        let answer = alice
            .put(PbPutRequest {
                key: key.clone(),
                prev_kv: true,
                ..Default::default()
            })
            .await;
        done(
            ctx,
            &format!("put {name}, asking for the value before"),
            answer,
        );
        let answer = alice
            .delete(PbDeleteRequest {
                key: key.clone(),
                ..Default::default()
            })
            .await;
        done(ctx, &format!("delete {name}"), answer);
        let answer = alice
            .delete(PbDeleteRequest {
                key,
                prev_kv: true,
                ..Default::default()
            })
            .await;
        done(
            ctx,
            &format!("delete {name}, asking for the value before"),
            answer,
        );
    }
    for (from, to) in [
        ("m", "p"),
        ("m", "pp"),
        ("n", "o"),
        ("l", "n"),
        ("r", "rr"),
        ("r", "rs"),
    ] {
        let request = PbRangeRequest {
            key: ctx.key(from),
            range_end: ctx.key(to),
            ..Default::default()
        };
        let answer = alice.range(request).await;
        done(ctx, &format!("range from {from} before {to}"), answer);
    }
    let answer = alice
        .range(PbRangeRequest {
            key: ctx.key("m"),
            range_end: vec![0],
            ..Default::default()
        })
        .await;
    done(ctx, "range from m on", answer);
    let answer = alice
        .range(PbRangeRequest {
            key: ctx.key("x"),
            serializable: true,
            ..Default::default()
        })
        .await;
    done(ctx, "get x, serializable", answer);
    let answer = alice
        .user_add(PbAuthUserAddRequest {
            name: "eve".into(),
            password: "e".into(),
            ..Default::default()
        })
        .await;
    done(ctx, "add a user", answer);
    let answer = alice
        .compact(etcd_client::proto::PbCompactionRequest {
            revision: ctx.at(1),
            ..Default::default()
        })
        .await;
    done(ctx, "compact", answer);
}

async fn permissions_of_transactions(ctx: &mut Ctx) {
    enable(ctx).await;
    let alice = alice(ctx).await;
    let op = |request| PbTxnRequestOp {
        request: Some(request),
    };
    let get = |ctx: &Ctx, name: &str| {
        op(PbTxnOpRequest::RequestRange(PbRangeRequest {
            key: ctx.key(name),
            ..Default::default()
        }))
    };
    let put = |ctx: &Ctx, name: &str| {
        op(PbTxnOpRequest::RequestPut(PbPutRequest {
            key: ctx.key(name),
            ..Default::default()
        }))
    };
    let delete = |ctx: &Ctx, name: &str| {
        op(PbTxnOpRequest::RequestDeleteRange(PbDeleteRequest {
            key: ctx.key(name),
            ..Default::default()
        }))
    };
    let absent = |ctx: &Ctx, name: &str| PbCompare {
        key: ctx.key(name),
        target: 1,
        target_union: Some(PbTargetUnion::CreateRevision(0)),
        ..Default::default()
    };
    let then = |success| PbTxnRequest {
        success,
        ..Default::default()
    };
    let requests = [
        (
            "compare what may be read",
            PbTxnRequest {
                compare: vec![absent(ctx, "r")],
                success: vec![put(ctx, "m")],
                ..Default::default()
            },
        ),
        (
            "compare what may be written only",
            PbTxnRequest {
                compare: vec![absent(ctx, "w")],
                success: vec![put(ctx, "m")],
                ..Default::default()
            },
        ),
        (
            "compare what is foreign",
            PbTxnRequest {
                compare: vec![absent(ctx, "x")],
                ..Default::default()
            },
        ),
        (
            "put a foreign key",
            then(vec![put(ctx, "m"), put(ctx, "x")]),
        ),
        ("delete a foreign key", then(vec![delete(ctx, "x")])),
        (
            "get a foreign key",
            then(vec![get(ctx, "m"), get(ctx, "x")]),
        ),
        (
            "in the branch that is not taken",
            PbTxnRequest {
                success: vec![put(ctx, "m")],
                failure: vec![get(ctx, "x")],
                ..Default::default()
            },
        ),
        (
            "nested, not taken",
            then(vec![op(PbTxnOpRequest::RequestTxn(PbTxnRequest {
                failure: vec![put(ctx, "x")],
                ..Default::default()
            }))]),
        ),
        (
            "nested",
            then(vec![op(PbTxnOpRequest::RequestTxn(then(vec![
                put(ctx, "w"),
                get(ctx, "r"),
            ])))]),
        ),
        ("empty", PbTxnRequest::default()),
    ];
    for (what, request) in requests {
        let answer = alice.txn(request.clone()).await;
        ctx.answer(what, answer, |ctx, answer| ctx.header(answer.header));
    }
    let answer = ctx.raw.without_token().txn(PbTxnRequest::default()).await;
    ctx.answer("empty, without a token", answer, |ctx, answer| {
        ctx.header(answer.header)
    });
}

async fn permissions_of_leases(ctx: &mut Ctx) {
    enable(ctx).await;
    let alice = alice(ctx).await;
    let [own, foreign, mixed] = [
        ctx.grant("own", 60, 0).await,
        ctx.grant("foreign", 60, 0).await,
        ctx.grant("mixed", 60, 0).await,
    ];
    for (name, lease) in [("m", own), ("x", foreign), ("n", mixed), ("y", mixed)] {
        ctx.put_on(name, "1", lease).await;
    }
    let mut stream = alice.keep_alive().unwrap();
    for (what, id) in [
        ("own", own),
        ("foreign", foreign),
        ("mixed", mixed),
        ("unknown", 4712),
    ] {
        for keys in [false, true] {
            let answer = alice
                .time_to_live(PbLeaseTimeToLiveRequest { id, keys })
                .await;
            done(
                ctx,
                &format!(
                    "time to live of {what}{}",
                    if keys { " with keys" } else { "" }
                ),
                answer,
            );
        }
        let answer = alice
            .put(PbPutRequest {
                key: ctx.key("o"),
                lease: id,
                ..Default::default()
            })
            .await;
        done(ctx, &format!("put on {what}"), answer);
        ctx.put("o", "off again").await;
        ctx.note(format!("renew {what}"));
        ctx.renew(&mut stream, id).await;
    }
    let answer = alice.leases(PbLeaseLeasesRequest {}).await;
    done(ctx, "the list", answer);
    for (what, id) in [
        ("foreign", foreign),
        ("mixed", mixed),
        ("own", own),
        ("unknown", 4712),
    ] {
        let answer = alice.revoke(PbLeaseRevokeRequest { id }).await;
        done(ctx, &format!("revoke {what}"), answer);
    }
    ctx.show("x").await;
    ctx.show("y").await;
    ctx.show("m").await;
}

async fn without_a_token(ctx: &mut Ctx) {
    enable(ctx).await;
    let lease = ctx.grant("L", 60, 0).await;
    ctx.put_on("a", "1", lease).await;
    let nobody = ctx.raw.without_token();
    let answer = nobody
        .grant(PbLeaseGrantRequest { ttl: 60, id: 4720 })
        .await;
    done(ctx, "grant", answer);
    let answer = nobody
        .time_to_live(PbLeaseTimeToLiveRequest {
            id: lease,
            keys: false,
        })
        .await;
    done(ctx, "time to live", answer);
    let answer = nobody
        .time_to_live(PbLeaseTimeToLiveRequest {
            id: lease,
            keys: true,
        })
        .await;
    done(ctx, "time to live with keys", answer);
    let answer = nobody.leases(PbLeaseLeasesRequest {}).await;
    done(ctx, "the list", answer);
    let answer = nobody.revoke(PbLeaseRevokeRequest { id: lease }).await;
    done(ctx, "revoke a lease with a key", answer);
    let answer = nobody.revoke(PbLeaseRevokeRequest { id: 4720 }).await;
    done(ctx, "revoke a lease without keys", answer);
    let mut stream = nobody.keep_alive().unwrap();
    ctx.note("renew");
    ctx.renew(&mut stream, lease).await;
    let answer = nobody.status(PbStatusRequest::default()).await;
    done(ctx, "status", answer);
    let answer = nobody.member_list(PbMemberListRequest::default()).await;
    done(ctx, "member list", answer);
    let mut watch = nobody.watch().unwrap();
    ctx.note("watch");
    watch.send(create(1, ctx.key("a"), 0));
    ctx.watched(&mut watch).await;
    ctx.show("a").await;
}

async fn watches(ctx: &mut Ctx) {
    enable(ctx).await;
    let alice = alice(ctx).await;
    let mut watch = alice.watch().unwrap();
    for (id, name) in [(1, "m"), (2, "x"), (3, "w"), (4, "r")] {
        ctx.note(format!("watch {name}"));
        watch.send(create(id, ctx.key(name), 0));
        ctx.watched(&mut watch).await;
    }
    // On a stream of its own: events of one revision reach the watchers of a stream in any order.
    let mut wide = alice.watch().unwrap();
    ctx.note("from m before p, from m before pp, from m on");
    wide.send(create(5, ctx.key("m"), 0).with_range(ctx.key("p")));
    wide.send(create(6, ctx.key("m"), 0).with_range(ctx.key("pp")));
    wide.send(create(7, ctx.key("m"), 0).with_from_key());
    for _ in 0..3 {
        ctx.watched(&mut wide).await;
    }
    drop(wide);
    ctx.put("r", "1").await;
    ctx.watched(&mut watch).await;
    ctx.note("the role is taken away");
    let request = PbAuthUserRevokeRoleRequest {
        name: "alice".into(),
        role: "some".into(),
    };
    ctx.raw.user_unrole(request).await.unwrap();
    let answer = alice.get(ctx.key("r")).await;
    done(ctx, "get r", answer);
    ctx.put("r", "2").await;
    ctx.watched(&mut watch).await;
    ctx.note("watch r again");
    watch.send(create(9, ctx.key("r"), 0));
    ctx.watched(&mut watch).await;
}

async fn a_dead_token(ctx: &mut Ctx) {
    enable(ctx).await;
    let old = alice(ctx).await;
    tokio::time::sleep(TOKEN_DEAD).await;
    let answer = old.get(ctx.key("m")).await;
    done(ctx, "get", answer);
    let answer = old.txn(PbTxnRequest::default()).await;
    done(ctx, "an empty transaction", answer);
    let answer = old
        .put(PbPutRequest {
            key: ctx.key("m"),
            ..Default::default()
        })
        .await;
    done(ctx, "put", answer);
    let answer = old.grant(PbLeaseGrantRequest { ttl: 60, id: 4721 }).await;
    done(ctx, "grant", answer);
    let answer = old.status(PbStatusRequest::default()).await;
    done(ctx, "status", answer);
    let answer = old.member_list(PbMemberListRequest::default()).await;
    done(ctx, "member list", answer);
    let token = old.login("alice", "secret").await.unwrap();
    let new = old.with_token(token);
    let answer = new.get(ctx.key("m")).await;
    done(ctx, "get with a new one", answer);
}

async fn a_dead_token_on_streams(ctx: &mut Ctx) {
    enable(ctx).await;
    let old = alice(ctx).await;
    let lease = ctx.grant("L", 60, 0).await;
    let mut stream = old.keep_alive().unwrap();
    ctx.renew(&mut stream, lease).await;
    let mut watch = old.watch().unwrap();
    watch.send(create(1, ctx.key("m"), 0));
    ctx.watched(&mut watch).await;
    tokio::time::sleep(TOKEN_DEAD).await;
    let token = ctx.raw.login("root", "secret").await.unwrap();
    ctx.raw = ctx.raw.with_token(token);
    ctx.note("the open watch goes on");
    ctx.put("m", "1").await;
    ctx.watched(&mut watch).await;
    ctx.note("a new one on its stream");
    watch.send(create(2, ctx.key("m"), 0));
    ctx.watched(&mut watch).await;
    ctx.note("a renewal");
    ctx.renew(&mut stream, lease).await;
    let token = ctx.raw.login("alice", "secret").await.unwrap();
    ctx.note("there is a new token: the stream keeps the old one");
    watch.send(create(3, ctx.key("m"), 0));
    ctx.watched(&mut watch).await;
    ctx.put("m", "2").await;
    ctx.watched(&mut watch).await;
    ctx.note("new streams with the new one");
    let new = old.with_token(token);
    let mut watch = new.watch().unwrap();
    watch.send(create(1, ctx.key("m"), 0));
    ctx.watched(&mut watch).await;
    let mut stream = new.keep_alive().unwrap();
    ctx.renew(&mut stream, lease).await;
}

async fn a_used_token_lives(ctx: &mut Ctx) {
    enable(ctx).await;
    let alice = alice(ctx).await;
    let mut refused = Vec::new();
    for _ in 0..6 {
        tokio::time::sleep(TOKEN_TTL / 3).await;
        refused.extend(alice.get(ctx.key("m")).await.err());
    }
    ctx.note(format!(
        "used every second for two lives of a token: {refused:?}"
    ));
}

async fn renewals_use_the_token(ctx: &mut Ctx) {
    enable(ctx).await;
    let lease = ctx.grant("L", 60, 0).await;
    let alice = alice(ctx).await;
    let mut stream = alice.keep_alive().unwrap();
    for _ in 0..6 {
        tokio::time::sleep(TOKEN_TTL / 3).await;
        stream.send(PbLeaseKeepAliveRequest { id: lease });
        assert_eq!(stream.next().await.unwrap().ttl, 60);
    }
    let answer = alice.get(ctx.key("m")).await;
    done(ctx, "get with a token that only renewals used", answer);
}

async fn changed_passwords_and_roles(ctx: &mut Ctx) {
    enable(ctx).await;
    let alice = alice(ctx).await;
    add_role(&ctx.raw, "more", &[(Grant::Read, ctx.key("x"), Vec::new())]).await;
    let answer = alice.get(ctx.key("x")).await;
    done(ctx, "get x before", answer);
    ctx.raw
        .user_role(PbAuthUserGrantRoleRequest {
            user: "alice".into(),
            role: "more".into(),
        })
        .await
        .unwrap();
    let answer = alice.get(ctx.key("x")).await;
    done(ctx, "get x with another role and the same token", answer);
    let request = PbAuthUserChangePasswordRequest {
        name: "alice".into(),
        password: "other".into(),
        ..Default::default()
    };
    ctx.raw.user_password(request).await.unwrap();
    let answer = alice.get(ctx.key("x")).await;
    done(ctx, "get x after the password changed", answer);
    for password in ["secret", "other"] {
        let login = ctx.raw.login("alice", password).await;
        done(ctx, &format!("log in with {password}"), login);
    }
}

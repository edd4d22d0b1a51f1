//! The options of an elector as Python gives them: one list for all calls that start one. Owns names and conversion;
//! what fits is checked by the core when it starts.

use leadership_core as core;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::client::Client;
use crate::convert;
use crate::health;
use crate::lease::SharedLease;

/// Every option; None for one of them is as if it were not given.
const NAMES: [&str; 14] = [
    "mode",
    "lease",
    "priority",
    "take_back",
    "warm",
    "ttl",
    "purpose",
    "health_check",
    "health_age",
    "drain_timeout",
    "cool_down",
    "takeover_delay",
    "step_down_margin",
    "campaign_limit",
];

/// What is to be started.
pub(crate) fn builder(
    client: &Client,
    key: &Bound<'_, PyAny>,
    value: Option<&Bound<'_, PyAny>>,
    options: Option<&Bound<'_, PyDict>>,
) -> PyResult<core::ElectorBuilder> {
    let mut builder = core::Elector::builder(client.core()?, convert::bytes("key", key)?);
    if let Some(value) = value {
        builder = builder.value(convert::bytes("value", value)?);
    }
    for (name, given) in options.into_iter().flatten() {
        let name: String = name.extract()?;
        if !NAMES.contains(&name.as_str()) {
            let why = format!("no option {name:?} of an elector; there are {}", NAMES.join(", "));
            return Err(PyTypeError::new_err(why));
        }
        if !given.is_none() {
            builder = option(builder, &name, &given)?;
        }
    }
    Ok(builder)
}

fn option(builder: core::ElectorBuilder, name: &str, given: &Bound<'_, PyAny>) -> PyResult<core::ElectorBuilder> {
    let wrong = |what: &str| PyTypeError::new_err(format!("{name}: {what} expected"));
    let seconds = || convert::duration(name, given);
    Ok(match name {
        "mode" => match given.extract::<&str>().map_err(|_| wrong("str"))? {
            "single_key" => builder.mode(core::Mode::SingleKey),
            "queue" => builder.mode(core::Mode::Queue),
            other => return Err(convert::invalid(given.py(), name, format!("{other:?} is neither single_key nor queue"))),
        },
        "lease" => builder.lease(given.cast::<SharedLease>().map_err(|_| wrong("a SharedLease"))?.get().core()?),
        "priority" => builder.priority(given.extract().map_err(|_| wrong("a number of 64 bits"))?),
        "take_back" => builder.take_back(given.extract().map_err(|_| wrong("bool"))?),
        "warm" => builder.warm(given.extract().map_err(|_| wrong("bool"))?),
        "ttl" => builder.ttl(seconds()?),
        "purpose" => builder.purpose(given.extract::<String>().map_err(|_| wrong("str"))?),
        "health_check" if given.is_callable() => builder.health_check(health::check(given.clone().unbind())),
        "health_check" => return Err(wrong("a callable")),
        "health_age" => builder.health_age(seconds()?),
        "drain_timeout" => builder.drain_timeout(seconds()?),
        "cool_down" => builder.cool_down(seconds()?),
        "takeover_delay" => builder.takeover_delay(seconds()?),
        "step_down_margin" => builder.step_down_margin(seconds()?),
        "campaign_limit" => builder.campaign_limit(given.extract().map_err(|_| wrong("a count from 0 on"))?),
        _ => return Err(PyTypeError::new_err(format!("no option {name:?} of an elector"))),
    })
}

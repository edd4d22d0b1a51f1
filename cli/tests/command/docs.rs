//! The pages of `docs/` against what they speak of: a test that a page names exists, an exit code it lists is a real one.
//! Owns only that; whether a page reads well, people say.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn sources(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("docs.rs") {
            text.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_test_that_the_safety_page_names_exists() {
    let page = std::fs::read_to_string(root().join("docs/safety.md")).unwrap();
    let mut code = String::new();
    for folder in ["core/src", "core/tests", "ffi/src", "ffi/tests", "tests/tests", "tests/faults", "cli/tests"] {
        sources(&root().join(folder), &mut code);
    }
    let words = page.split('`').skip(1).step_by(2);
    let named: Vec<_> = words.filter(|word| word.matches('_').count() > 2 && !word.contains(' ')).collect();
    assert!(named.len() > 40, "{named:?}");
    let missing: Vec<_> = named.into_iter().filter(|name| !code.contains(*name)).collect();
    assert!(missing.is_empty(), "docs/safety.md names tests that do not exist: {missing:#?}");
    for rule in 1..=15 {
        assert!(page.contains(&format!("\n## S{rule} ")), "S{rule} is not explained");
    }
}

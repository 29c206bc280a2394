//! The examples in docs/rules: each is taken, and does what it says.

use super::rules::{command, met};
use crate::common::{TestMount, Variant, shell};
use std::{fs, path::Path};

#[test]
#[ignore = "root"]
fn every_example_is_taken_and_listed() {
    let mount = TestMount::new(Variant::SHM_COPY);
    fs::create_dir(mount.path().join("archive")).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/rules");
    let mut examples = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let path = path.to_str().unwrap();
        shell::run(&mut command(&mount, &["replace", path]));
        let listed = shell::run(&mut command(&mount, &["list"]));
        assert!(listed.lines().count() > 1, "{path}: {listed}");
        // What is listed as TOML is a file of rules.
        let again = mount.scratch().join("again.toml");
        fs::write(
            &again,
            shell::run(&mut command(&mount, &["list", "--toml"])),
        )
        .unwrap();
        shell::run(&mut command(&mount, &["replace", again.to_str().unwrap()]));
        assert_eq!(shell::run(&mut command(&mount, &["list"])), listed);
        if path.ends_with("read-only-subtree.toml") {
            fs::write(mount.path().join("archive/x"), "").unwrap_err();
            assert_eq!(met(&mount, "archive is read-only").0, 1);
        }
        examples += 1;
    }
    assert!(examples >= 4);
    mount.finish();
}

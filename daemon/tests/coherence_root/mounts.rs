//! Two mounts on one lower directory: each sees what is done through the other.

use crate::common::{TestMount, Variant, tree, wait_until};
use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt},
};

fn what_one_mount_does_the_other_sees(variant: Variant) {
    let one = TestMount::new(variant);
    let two = TestMount::builder(variant).lower(one.lower()).mount();
    let mounts = [&one, &two];
    let expect = |what: &str, holds: &dyn Fn() -> bool| {
        if variant.is_cached() {
            wait_until(what, holds);
        } else {
            assert!(holds(), "{what}");
        }
    };
    for round in 0..40_u32 {
        let actor = mounts[round as usize % 2].path();
        let witness = mounts[(round as usize + 1) % 2].path();
        assert!(!witness.join("file").exists());
        assert_eq!(tree::names(witness), [""; 0]);
        fs::write(actor.join("file"), format!("{round}")).unwrap();
        expect("create", &|| witness.join("file").exists());
        expect("listing", &|| tree::names(witness) == ["file"]);
        let text = format!("{round}");
        expect("content", &|| {
            fs::read_to_string(witness.join("file")).is_ok_and(|read| read == text)
        });
        let mode = 0o600 | round;
        fs::set_permissions(actor.join("file"), Permissions::from_mode(mode)).unwrap();
        expect("chmod", &|| {
            fs::metadata(witness.join("file")).is_ok_and(|meta| meta.mode() & 0o777 == mode)
        });
        fs::rename(actor.join("file"), actor.join("moved")).unwrap();
        expect("rename", &|| {
            witness.join("moved").exists() && !witness.join("file").exists()
        });
        fs::remove_file(actor.join("moved")).unwrap();
        expect("unlink", &|| !witness.join("moved").exists());
        expect("empty", &|| tree::names(witness).is_empty());
    }
    two.finish();
    one.finish();
}

for_strict_and_coherent!(on_variant, [what_one_mount_does_the_other_sees]);

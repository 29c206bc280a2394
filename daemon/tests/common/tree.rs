//! Everything that can be known of a directory tree, to be compared.

use rustix::{
    fs::{CWD, lgetxattr, llistxattr},
    io::Errno,
};
use std::{
    collections::BTreeMap,
    ffi::{CStr, CString, OsString},
    fmt::Write,
    fs::{self, File},
    hash::{DefaultHasher, Hasher},
    io::Read,
    os::unix::{
        ffi::OsStringExt,
        fs::{FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

/// What one entry is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// File type and permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Hard links.
    pub nlink: u64,
    /// Device number of a device.
    pub rdev: u64,
    /// In bytes; 0 for directories, whose sizes depend on their history.
    pub size: u64,
    /// Last modification, seconds and nanoseconds; none unless asked for.
    pub mtime: Option<(i64, i64)>,
    /// Target of a symbolic link.
    pub target: Option<PathBuf>,
    /// Extended attributes.
    pub xattrs: BTreeMap<CString, Vec<u8>>,
    /// Hash of a regular file's content.
    pub content: Option<u64>,
    /// The first path, in the order of names, with the same inode: shows what is linked to what.
    pub first_link: Option<PathBuf>,
}

/// Entries by path relative to the tree's root, which is the empty path.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tree(pub BTreeMap<PathBuf, Entry>);

impl Tree {
    /// Looks at everything below `root`, and at `root` itself, but for times of modification.
    pub fn of(root: &Path) -> Self {
        Self::walk(root, false)
    }

    /// The same with times of modification.
    pub fn with_times(root: &Path) -> Self {
        Self::walk(root, true)
    }

    /// The same without the entry of the root.
    #[must_use]
    pub fn below(mut self) -> Self {
        self.0.remove(Path::new(""));
        self
    }

    /// The same without a directory and what is below it.
    #[must_use]
    pub fn without(mut self, dir: &str) -> Self {
        self.0.retain(|path, _| !path.starts_with(dir));
        self
    }

    fn walk(root: &Path, times: bool) -> Self {
        let mut tree = Self::default();
        let mut links = BTreeMap::new();
        let mut todo = vec![PathBuf::new()];
        while let Some(path) = todo.pop() {
            let full = root.join(&path);
            let (entry, identity) = look(&full, times);
            let is_dir = entry.mode & nix::libc::S_IFMT == nix::libc::S_IFDIR;
            if is_dir {
                let mut names: Vec<_> = fs::read_dir(&full)
                    .unwrap_or_else(|error| panic!("{}: {error}", full.display()))
                    .map(|name| name.expect("a directory entry").file_name())
                    .collect();
                names.sort();
                todo.extend(names.into_iter().rev().map(|name| path.join(name)));
            } else if entry.nlink > 1 {
                links
                    .entry(identity)
                    .or_insert_with(Vec::new)
                    .push(path.clone());
            }
            tree.0.insert(path, entry);
        }
        for paths in links.into_values() {
            let first = paths.iter().min().expect("at least one path");
            for path in &paths {
                tree.0.get_mut(path).expect("it was inserted").first_link = Some(first.clone());
            }
        }
        tree
    }
}

fn look(path: &Path, times: bool) -> (Entry, (u64, u64)) {
    let fail = |what: &str, error: &dyn std::fmt::Display| -> ! {
        panic!("{what} {}: {error}", path.display())
    };
    let meta = fs::symlink_metadata(path).unwrap_or_else(|error| fail("stat", &error));
    let file_type = meta.file_type();
    let entry = Entry {
        mode: meta.mode(),
        uid: meta.uid(),
        gid: meta.gid(),
        nlink: meta.nlink(),
        rdev: if file_type.is_char_device() || file_type.is_block_device() {
            meta.rdev()
        } else {
            0
        },
        size: if file_type.is_dir() { 0 } else { meta.size() },
        mtime: times.then(|| (meta.mtime(), meta.mtime_nsec())),
        target: file_type
            .is_symlink()
            .then(|| fs::read_link(path).unwrap_or_else(|error| fail("readlink", &error))),
        xattrs: xattrs(path).unwrap_or_else(|error| fail("xattrs of", &error)),
        content: file_type
            .is_file()
            .then(|| hash(path).unwrap_or_else(|error| fail("read", &error))),
        first_link: None,
    };
    (entry, (meta.dev(), meta.ino()))
}

/// The extended attributes of a file, of a symbolic link itself.
///
/// # Errors
///
/// What listing or reading them says, but for file systems without any.
pub fn xattrs(path: &Path) -> Result<BTreeMap<CString, Vec<u8>>, Errno> {
    let mut names = vec![0; 64 << 10];
    let len = match llistxattr(path, &mut names[..]) {
        Ok(len) => len,
        Err(Errno::OPNOTSUPP) => 0,
        Err(errno) => return Err(errno),
    };
    let mut found = BTreeMap::new();
    let mut rest = &names[..len];
    while !rest.is_empty() {
        let name = CStr::from_bytes_until_nul(rest).expect("names end with NUL");
        rest = &rest[name.count_bytes() + 1..];
        let mut value = vec![0; 64 << 10];
        let len = lgetxattr(path, name, &mut value[..])?;
        value.truncate(len);
        found.insert(name.to_owned(), value);
    }
    Ok(found)
}

/// A hash of a file's content.
///
/// # Errors
///
/// What opening or reading it says.
pub fn hash(path: &Path) -> std::io::Result<u64> {
    let mut file = File::open(path)?;
    let mut hasher = DefaultHasher::new();
    let mut buffer = vec![0; 128 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            len => hasher.write(&buffer[..len]),
        }
    }
}

/// Fails the test with the differences, unless two trees are equal.
pub fn assert_same(what: &str, got: &Tree, expected: &Tree) {
    let mut text = String::new();
    for (path, entry) in &got.0 {
        match expected.0.get(path) {
            None => writeln!(text, "unexpected {}: {entry:?}", path.display()),
            Some(other) if other != entry => writeln!(
                text,
                "different {}:\n     got {entry:?}\nexpected {other:?}",
                path.display()
            ),
            Some(_) => Ok(()),
        }
        .expect("text");
    }
    for path in expected.0.keys().filter(|path| !got.0.contains_key(*path)) {
        writeln!(text, "missing {}", path.display()).expect("text");
    }
    assert!(text.is_empty(), "{what}:\n{text}");
}

/// The names in a directory, sorted.
pub fn names(dir: &Path) -> Vec<OsString> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .map(|entry| entry.expect("a directory entry").file_name())
        .collect();
    names.sort();
    names
}

/// A name from bytes.
pub fn name(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}

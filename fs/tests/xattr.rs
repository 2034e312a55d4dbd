//! Extended attributes, by path and by file, through the ring and on the thread pool.

use std::fs;
use std::io::{self, ErrorKind};

use runtime::fs::{File, remove_xattr, set_xattr, xattr, xattrs};
use runtime::{Builder, Runtime};
use rustix::io_uring::IoringOp;
use tempfile::TempDir;

const NAME: &str = "user.annulet";

fn runtimes() -> [(&'static str, Runtime); 2] {
    let lacking = [
        IoringOp::Getxattr,
        IoringOp::Setxattr,
        IoringOp::Fgetxattr,
        IoringOp::Fsetxattr,
    ];
    let lacking = lacking.map(|opcode| opcode as u8);
    [
        ("ring", Runtime::new().unwrap()),
        ("pool", Builder::new().without(lacking).build().unwrap()),
    ]
}

fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> Option<i32> {
    result.unwrap_err().raw_os_error()
}

#[test]
fn attributes_are_set_read_listed_and_removed() {
    for (way, runtime) in runtimes() {
        let temp = TempDir::new().unwrap();
        let path = temp.path().join("file");
        fs::write(&path, "").unwrap();
        let before = runtime.driver().metrics().staged;
        runtime.block_on(async {
            assert_eq!(xattr(&path, NAME).await.unwrap(), None);
            let mut options = File::options();
            let file = options.read(true).write(true).open(&path).await.unwrap();
            // None, few, and more than are asked for at first; ext4 has a block for all.
            for len in [0, 1, 256, 257, 1500] {
                let value: Vec<u8> = (0..len).map(|n: u32| n as u8).collect();
                set_xattr(&path, NAME, value.clone()).await.unwrap();
                let expected = Some(value.clone());
                assert_eq!(
                    xattr(&path, NAME).await.unwrap(),
                    expected,
                    "{len} by the {way}"
                );
                assert_eq!(file.xattr(NAME).await.unwrap(), expected);
                file.set_xattr("user.other", value).await.unwrap();
                assert_eq!(xattr(&path, "user.other").await.unwrap(), expected);
            }
            for names in [xattrs(&path).await.unwrap(), file.xattrs().await.unwrap()] {
                assert!(names.contains(&NAME.into()) && names.contains(&"user.other".into()));
            }
            remove_xattr(&path, NAME).await.unwrap();
            file.remove_xattr("user.other").await.unwrap();
            assert_eq!(xattr(&path, NAME).await.unwrap(), None);
            assert_eq!(file.xattr("user.other").await.unwrap(), None);
            let user = |name: &std::ffi::OsString| name.to_str().unwrap().starts_with("user.");
            assert!(!file.xattrs().await.unwrap().iter().any(user));
            let nodata = Some(rustix::io::Errno::NODATA.raw_os_error());
            assert_eq!(errno(remove_xattr(&path, NAME).await), nodata);
            assert_eq!(errno(file.remove_xattr(NAME).await), nodata);
        });
        let staged = runtime.driver().metrics().staged - before;
        // An opening, and all the reading and setting: twenty-five calls, six of which ask for more in a second one, and
        // the three that find none.
        assert_eq!(staged >= 35, way == "ring", "{staged} by the {way}");
    }
}

#[test]
fn what_is_refused_is_refused_either_way() {
    for (way, runtime) in runtimes() {
        let temp = TempDir::new().unwrap();
        let path = temp.path().join("file");
        fs::write(&path, "").unwrap();
        runtime.block_on(async {
            let missing = temp.path().join("missing");
            let kind = |error: io::Error| error.kind();
            let error = xattr(&missing, NAME).await.unwrap_err();
            assert_eq!(kind(error), ErrorKind::NotFound, "{way}");
            let error = set_xattr(&missing, NAME, "").await.unwrap_err();
            assert_eq!(kind(error), ErrorKind::NotFound, "{way}");
            let error = xattrs(&missing).await.unwrap_err();
            assert_eq!(kind(error), ErrorKind::NotFound, "{way}");
            let error = set_xattr(&path, "nobody's.name", "").await.unwrap_err();
            assert_eq!(kind(error), ErrorKind::Unsupported, "{way}");
            let error = set_xattr(&path, "user.a\0b", "").await.unwrap_err();
            assert_eq!(kind(error), ErrorKind::InvalidInput, "{way}");
            let error = xattr("a\0b", NAME).await.unwrap_err();
            assert_eq!(kind(error), ErrorKind::InvalidInput, "{way}");
            let long = vec![0; (64 << 10) + 1];
            let error = set_xattr(&path, NAME, long).await.unwrap_err();
            assert_eq!(kind(error), ErrorKind::ArgumentListTooLong, "{way}");
        });
    }
}

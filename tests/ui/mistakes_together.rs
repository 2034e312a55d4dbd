use annulet_macros as runtime;

// Every mistake is reported at once, and the body is still looked into.
#[runtime::main(entires = 1024, budget)]
fn main(port: u16) {
    let port: String = port;
}

use annulet_macros as runtime;

#[runtime::main]
fn main() {
    println!("no await in here");
}

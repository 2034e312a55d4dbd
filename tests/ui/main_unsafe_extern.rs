use annulet_macros as runtime;

#[runtime::main]
async unsafe extern "C" fn main() {}

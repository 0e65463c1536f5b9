/** The bundler hands a `.wasm` file over as a compiled module: workerd compiles no WebAssembly at run time. */
declare module "*.wasm" {
  const module: WebAssembly.Module;
  export default module;
}

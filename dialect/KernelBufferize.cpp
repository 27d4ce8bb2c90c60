#include "dialect/Kernel.h"
void nestc::kernel::registerBufferizationModels(mlir::DialectRegistry &) {}

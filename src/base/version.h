// Which facet this is.
#pragma once

namespace facet {

const char* version();  // "0.1.0", of CMakeLists.txt

}  // namespace facet

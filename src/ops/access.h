// Element access to the handles of tensor/view.h. Only ops/ and tests include this file (architecture: nothing above
// ops dereferences).
#pragma once

#include "tensor/view.h"

namespace facet {

struct MatAccess {
  template <class T>
  static T* data(const Mat<T>& m) {
    return m.data_;
  }
};

namespace ops {

template <class T>
T* data(const Mat<T>& m) {
  return MatAccess::data(m);
}

template <class T>
T* row(const Mat<T>& m, int64_t i) {
  FACET_DCHECK(i >= 0 && i < m.rows());
  return MatAccess::data(m) + i * m.stride();
}

}  // namespace ops
}  // namespace facet

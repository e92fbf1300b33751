// The Linux ABI of memory policies (set_mempolicy(2) and its family).
#ifndef UAPI_MEMPOLICY_H
#define UAPI_MEMPOLICY_H

#define MPOL_DEFAULT        0
#define MPOL_PREFERRED      1
#define MPOL_BIND           2
#define MPOL_INTERLEAVE     3
#define MPOL_LOCAL          4
#define MPOL_PREFERRED_MANY 5

#define MPOL_F_STATIC_NODES   (1u << 15)
#define MPOL_F_RELATIVE_NODES (1u << 14)

#define MPOL_F_NODE         1u
#define MPOL_F_ADDR         2u
#define MPOL_F_MEMS_ALLOWED 4u

#define MPOL_MF_STRICT   1u
#define MPOL_MF_MOVE     2u
#define MPOL_MF_MOVE_ALL 4u

#endif

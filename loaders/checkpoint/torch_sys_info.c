#include "loaders/checkpoint/torch_sys_info.h"

anx_status anx_torch_sys_info_read(const anx_pickle_value *sys_info, int64_t version, bool *big_endian,
                                   anx_error *err) {
    if (sys_info->kind != ANX_PICKLE_DICT)
        return anx_error_set(err, ANX_ERR_FORMAT, "it is %s; a dict was expected",
                             anx_pickle_kind_phrase(sys_info->kind));
    const anx_pickle_value *given = anx_pickle_dict_find(sys_info, "protocol_version");
    if (given != NULL && given->kind != ANX_PICKLE_INT)
        return anx_error_set(err, ANX_ERR_FORMAT, "its protocol_version is %s; an int was expected",
                             anx_pickle_kind_phrase(given->kind));
    if (given != NULL && given->u.integer != version)
        return anx_error_set(err, ANX_ERR_UNSUPPORTED, "its protocol_version is %lld; %lld is known",
                             (long long)given->u.integer, (long long)version);
    const anx_pickle_value *little = anx_pickle_dict_find(sys_info, "little_endian");
    if (little != NULL && little->kind != ANX_PICKLE_BOOL)
        return anx_error_set(err, ANX_ERR_FORMAT, "its little_endian is %s; a bool was expected",
                             anx_pickle_kind_phrase(little->kind));
    *big_endian = little != NULL && !little->u.boolean;
    return ANX_OK;
}

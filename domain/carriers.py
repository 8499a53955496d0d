"""The one table of carriers: our code and what others call the same company.

Facts: china/carrier_codes.md (read 2026-11-21). TOP and Qimen column: the 19 codes of the Qimen document list H, the other
TOP codes M ("start values": every account may override them); Shopify names H (schema string of
FulfillmentTrackingInfo.company); Kuaidi100 H/M; Kdniao M, marked L there: left out here. An empty cell is a code that was
not found: it is never guessed, the target's own fallback is used and the name goes along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Scheme = Literal["top", "qimen", "shopify", "kuaidi100"]


@dataclass(frozen=True, slots=True)
class Carrier:
    """`code` is ours and stable; the others are what a scheme writes for it ("" = not known)."""

    code: str
    name: str
    top: str = ""
    qimen: str = ""
    shopify: str = ""
    kuaidi100: str = ""


_ROWS = (
    Carrier("SF", "顺丰速运", "SF", "SF", "SF Express", "shunfeng"),
    Carrier("ZTO", "中通快递", "ZTO", "ZTO", "", "zhongtong"),
    Carrier("YTO", "圆通速递", "YTO", "YTO", "", "yuantong"),
    Carrier("STO", "申通快递", "STO", "STO", "", "shentong"),
    Carrier("YUNDA", "韵达快递", "YUNDA", "YUNDA", "", "yunda"),
    Carrier("JTSD", "极兔速递", "", "", "", "jtexpress"),
    Carrier("HTKY", "百世快递", "HTKY", "HTKY", "", "huitongkuaidi"),
    Carrier("EMS", "EMS", "EMS", "EMS", "", "ems"),
    Carrier("POSTB", "邮政快递包裹", "POSTB", "POSTB", "China Post", "youzhengguonei"),
    Carrier("YZBK", "邮政标准快递", "5000000007756", "", "", "youzhengbk"),
    Carrier("EYB", "邮政电商标快", "EYB", "EYB", "", "youzhengdsbk"),
    Carrier("JD", "京东快递", "", "JD", "", "jd"),
    Carrier("DBL", "德邦快递", "DBKD", "", "", "debangkuaidi"),
    Carrier("ZJS", "宅急送", "ZJS", "ZJS", "", "zhaijisong"),
    Carrier("UC", "优速快递", "UC", "UC", "", "youshuwuliu"),
    Carrier("TTKDEX", "天天快递", "TTKDEX", "TTKDEX", "", "tiantian"),
    Carrier("ANE", "安能物流", "2608021499_235", "", "", "annengwuliu"),
    Carrier("KYE", "跨越速运", "CN7000001003751", "", "", "kuayue"),
    Carrier("BESTQJT", "百世快运", "BESTQJT", "", "", "baishiwuliu"),
    Carrier("SURE", "速尔快递", "SURE", "", "", "suer"),
    Carrier("GTO", "国通快递", "GTO", "GTO"),
    Carrier("QFKD", "全峰快递", "QFKD", "QFKD"),
    Carrier("FAST", "快捷快递", "FAST", "FAST"),
    Carrier("DD", "当当", "DD", "DD"),
    Carrier("AMAZON", "Amazon", "AMAZON", "AMAZON", "Amazon"),
    Carrier("JDKD", "京东大件", "", "", "", "jingdongkuaiyun"),
    Carrier("DBKY", "德邦物流", "", "", "", "debangwuliu"),
    Carrier("ZTOKY", "中通快运", "", "", "", "zhongtongkuaiyun"),
    Carrier("YDKY", "韵达快运", "", "", "", "yundakuaiyun"),
    Carrier("SFKY", "顺丰快运", "", "", "", "shunfengkuaiyun"),
    Carrier("YMDD", "壹米滴答", "", "", "", "yimidida"),
    Carrier("DANNIAO", "丹鸟", "", "", "", "danniao"),
    Carrier("UPS", "UPS", shopify="UPS"),
    Carrier("USPS", "USPS", shopify="USPS"),
    Carrier("FEDEX", "FedEx", shopify="FedEx"),
    Carrier("DHL", "DHL Express", shopify="DHL Express"),
    Carrier("DHL_ECOMMERCE", "DHL eCommerce", shopify="DHL eCommerce"),
    Carrier("DPD", "DPD", shopify="DPD"),
    Carrier("GLS", "GLS", shopify="GLS"),
    Carrier("TNT", "TNT", shopify="TNT"),
    Carrier("EVRI", "Evri", shopify="Evri"),
    Carrier("ROYAL_MAIL", "Royal Mail", shopify="Royal Mail"),
    Carrier("POSTNL", "PostNL", shopify="PostNL"),
    Carrier("DEUTSCHE_POST", "Deutsche Post", shopify="Deutsche Post"),
    Carrier("SWISS_POST", "Swiss Post", shopify="Swiss Post"),
    Carrier("CANADA_POST", "Canada Post", shopify="Canada Post"),
    Carrier("AUSTRALIA_POST", "Australia Post", shopify="Australia Post"),
    Carrier("NEW_ZEALAND_POST", "New Zealand Post", shopify="New Zealand Post"),
    Carrier("SINGAPORE_POST", "Singapore Post", shopify="Singapore Post"),
    Carrier("JAPAN_POST", "Japan Post", shopify="Japan Post (EN)"),
    Carrier("YAMATO", "Yamato", shopify="Yamato (EN)"),
    Carrier("SAGAWA", "Sagawa", shopify="Sagawa (EN)"),
    Carrier("YUNEXPRESS", "YunExpress", shopify="YunExpress"),
    Carrier("4PX", "4PX", shopify="4PX"),
    Carrier("OTHER", "其他", "OTHER", "OTHER"),
)
CARRIERS: Mapping[str, Carrier] = MappingProxyType({row.code: row for row in _ROWS})


def _spoken(row: Carrier, scheme: Scheme) -> str:
    match scheme:
        case "top":
            return row.top
        case "qimen":
            return row.qimen
        case "shopify":
            return row.shopify
        case "kuaidi100":
            return row.kuaidi100


def _reverse(scheme: Scheme) -> Mapping[str, str]:
    """First row wins, should two of our codes ever share one foreign name."""
    found: dict[str, str] = {}
    for row in _ROWS:
        spoken = _spoken(row, scheme)
        if spoken:
            found.setdefault(spoken, row.code)
    return MappingProxyType(found)


_SCHEMES: tuple[Scheme, ...] = ("top", "qimen", "shopify", "kuaidi100")
_REVERSED: Mapping[Scheme, Mapping[str, str]] = MappingProxyType({scheme: _reverse(scheme) for scheme in _SCHEMES})


def spoken_code(code: str, scheme: Scheme, overrides: Mapping[str, str] = MappingProxyType({})) -> str:
    """What `scheme` calls our carrier `code`; an account's own `overrides` (our code → theirs) win. "" when unknown."""
    if code in overrides:
        return overrides[code]
    row = CARRIERS.get(code)
    return _spoken(row, scheme) if row is not None else ""


def own_code(spoken: str, scheme: Scheme, overrides: Mapping[str, str] = MappingProxyType({})) -> str:
    """Our code for what `scheme` wrote; an unknown code comes back as it is (a person agreed it with the peer)."""
    for ours, theirs in overrides.items():
        if theirs == spoken:
            return ours
    return _REVERSED[scheme].get(spoken, spoken)


def carrier_name(code: str, fallback: str = "") -> str:
    """The name people read; `fallback` (what a warehouse wrote) or the code itself when we do not know the carrier."""
    row = CARRIERS.get(code)
    if row is not None and row.code != "OTHER":
        return row.name
    return fallback or code

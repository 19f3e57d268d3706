"""Which country a word speaks for: names of countries, of their people, and of parts of them."""

from __future__ import annotations

import re
from functools import cache

_TABLE = """
Afghanistan: Afghan, Kabul
Albania: Albanian, Tirana
Algeria: Algerian, Algiers
Angola: Angolan
Argentina: Argentine, Argentinian, Argentinean, Buenos Aires
Armenia: Armenian, Yerevan
Australia: Australian, New South Wales, Queensland, Tasmania, Western Australia, South Australia, \
Northern Territory, Sydney, Melbourne, Brisbane, Adelaide
Austria: Austrian, Vienna, Tyrol, Styria, Carinthia
Azerbaijan: Azerbaijani, Baku
Bahrain: Bahraini
Bangladesh: Bangladeshi, Dhaka
Belarus: Belarusian, Minsk
Belgium: Belgian, Flemish, Walloon, Brussels, Antwerp
Benin: Beninese
Bolivia: Bolivian
Bosnia and Herzegovina: Bosnian, Sarajevo
Botswana: Botswanan
Brazil: Brazilian, São Paulo, Rio de Janeiro
Bulgaria: Bulgarian, Sofia
Burkina Faso: Burkinabé
Cambodia: Cambodian, Phnom Penh
Cameroon: Cameroonian
Canada: Canadian, Québécois, Ontario, Quebec, British Columbia, Alberta, Manitoba, Saskatchewan, \
Nova Scotia, New Brunswick, Newfoundland and Labrador, Newfoundland, Prince Edward Island, Yukon, \
Nunavut, Northwest Territories, Toronto, Montreal, Vancouver
Cape Verde: Cape Verdean
Chad: Chadian
Chile: Chilean
China: Chinese, Beijing, Shanghai, Guangdong, Sichuan
Colombia: Colombian, Bogotá
Costa Rica: Costa Rican
Croatia: Croatian, Zagreb
Cuba: Cuban, Havana
Cyprus: Cypriot, Nicosia
Czech Republic: Czech, Czechia, Bohemian, Prague, Moravia, Bohemia
Democratic Republic of the Congo: Congolese
Denmark: Danish, Dane, Copenhagen
Dominican Republic:
Ecuador: Ecuadorian
Egypt: Egyptian, Cairo
El Salvador: Salvadoran
Estonia: Estonian, Tallinn
Ethiopia: Ethiopian
Fiji: Fijian
Finland: Finnish, Helsinki
France: French, Paris, Normandy, Brittany, Lyon, Marseille
Gabon: Gabonese
Georgia:
Germany: German, West German, East German, Berlin, Bavaria, Saxony, Hesse, Lower Saxony, \
North Rhine-Westphalia, Baden-Württemberg, Thuringia, Brandenburg, Hamburg, Munich, Prussian
Ghana: Ghanaian
Greece: Greek, Athens, Crete
Guatemala: Guatemalan
Haiti: Haitian
Honduras: Honduran
Hong Kong: Hong Konger
Hungary: Hungarian, Budapest
Iceland: Icelandic, Reykjavík
India: Indian, Tamil, Telugu, Malayalam, Kannada, Hindi, Marathi, Bollywood, Tamil Nadu, Kerala, \
Karnataka, Andhra Pradesh, Maharashtra, Gujarat, Rajasthan, Uttar Pradesh, Bihar, West Bengal, \
Odisha, Assam, Punjab, Mumbai, Delhi, Kolkata, Chennai, Telangana, Haryana, Madhya Pradesh, Goa
Indonesia: Indonesian, Jakarta, Java, Sumatra
Iran: Iranian, Persian, Tehran
Iraq: Iraqi, Baghdad
Ireland: Irish, Dublin, County Cork, County Galway
Israel: Israeli, Tel Aviv
Italy: Italian, Rome, Sicily, Tuscany, Lombardy, Piedmont, Milan, Venice, Sardinia, Naples
Ivory Coast: Ivorian
Jamaica: Jamaican
Japan: Japanese, Tokyo, Osaka, Kyoto, Hokkaido
Jordan: Jordanian
Kazakhstan: Kazakh, Kazakhstani
Kenya: Kenyan, Nairobi
Kosovo: Kosovar
Kuwait: Kuwaiti
Latvia: Latvian, Riga
Lebanon: Lebanese, Beirut
Liberia: Liberian
Libya: Libyan
Liechtenstein:
Lithuania: Lithuanian, Vilnius
Luxembourg: Luxembourgish
Madagascar: Malagasy
Malaysia: Malaysian, Kuala Lumpur, Sarawak, Sabah
Mali: Malian
Malta: Maltese
Mexico: Mexican, Jalisco, Oaxaca, Chiapas
Moldova: Moldovan
Mongolia: Mongolian
Montenegro: Montenegrin
Morocco: Moroccan
Mozambique: Mozambican
Myanmar: Burmese, Burma
Namibia: Namibian
Nepal: Nepali, Nepalese, Kathmandu
Netherlands: Dutch, Amsterdam, Rotterdam, South Holland, North Holland
New Zealand: New Zealander, Auckland, Otago
Nicaragua: Nicaraguan
Nigeria: Nigerian, Lagos
North Korea: North Korean
North Macedonia: Macedonian
Norway: Norwegian, Oslo
Oman: Omani
Pakistan: Pakistani, Lahore, Karachi, Balochistan
Palestine: Palestinian
Panama: Panamanian
Papua New Guinea: Papua New Guinean
Paraguay: Paraguayan
Peru: Peruvian, Lima
Philippines: Filipino, Filipina, Philippine, Manila
Poland: Polish, Warsaw, Masovian Voivodeship
Portugal: Portuguese, Lisbon
Puerto Rico: Puerto Rican
Qatar: Qatari
Romania: Romanian, Bucharest, Transylvania
Russia: Russian, Moscow, Saint Petersburg, Siberia
Rwanda: Rwandan
Saudi Arabia: Saudi, Saudi Arabian
Senegal: Senegalese
Serbia: Serbian, Belgrade
Sierra Leone: Sierra Leonean
Singapore: Singaporean
Slovakia: Slovak, Slovakian, Bratislava
Slovenia: Slovenian, Slovene, Ljubljana
Somalia: Somali
South Africa: South African, Cape Town, Johannesburg, Western Cape
South Korea: South Korean, Korean, Seoul
Soviet Union: Soviet
Spain: Spanish, Spaniard, Catalan, Basque, Madrid, Barcelona, Andalusia, Catalonia, Galicia
Sri Lanka: Sri Lankan, Sinhala, Colombo
Sudan: Sudanese
Suriname: Surinamese
Sweden: Swedish, Stockholm
Switzerland: Swiss, Zürich, Geneva, Canton of Bern
Syria: Syrian, Damascus
Taiwan: Taiwanese, Taipei
Tanzania: Tanzanian
Thailand: Thai, Bangkok
Togo: Togolese
Trinidad and Tobago: Trinidadian
Tunisia: Tunisian
Turkey: Turkish, Istanbul, Ottoman
Uganda: Ugandan
Ukraine: Ukrainian, Kiev, Kyiv
United Arab Emirates: Emirati, Dubai
United Kingdom: British, English, Scottish, Welsh, Northern Irish, England, Scotland, Wales, \
Northern Ireland, UK, U.K., Great Britain, Britain, London, Yorkshire, Kent, Cornwall, Devon
United States: American, US, U.S., USA, U.S.A., United States of America, Alabama, Alaska, \
Arizona, Arkansas, California, Colorado, Connecticut, Delaware, Florida, Hawaii, Idaho, Illinois, \
Indiana, Iowa, Kansas, Kentucky, Louisiana, Maine, Maryland, Massachusetts, Michigan, Minnesota, \
Mississippi, Missouri, Montana, Nebraska, Nevada, New Hampshire, New Jersey, New Mexico, New York, \
North Carolina, North Dakota, Ohio, Oklahoma, Oregon, Pennsylvania, Rhode Island, South Carolina, \
South Dakota, Tennessee, Texas, Utah, Vermont, Virginia, Washington, West Virginia, Wisconsin, \
Wyoming, Chicago, Los Angeles, Hollywood
Uruguay: Uruguayan
Uzbekistan: Uzbek
Venezuela: Venezuelan, Caracas
Vietnam: Vietnamese, Hanoi
Yemen: Yemeni
Zambia: Zambian
Zimbabwe: Zimbabwean
"""
"""A country, and words that speak for it. Georgia speaks for the country alone; where a text goes
on to name the United States that is what counts, being named later."""


@cache
def _countries() -> dict[str, str]:
    words: dict[str, str] = {}
    for line in _TABLE.strip().splitlines():
        country, _, others = line.partition(":")
        for word in (country, *others.split(",")):
            if word.strip():
                words[word.strip()] = country
    return words


@cache
def _pattern() -> re.Pattern[str]:
    longest_first = sorted(_countries(), key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)")


def countries_in(text: str) -> list[tuple[str, int, int]]:
    """Countries that a text speaks of, in order, each with its first character and one past it all.

    Args:
        text: As it is written: "turkey" is none.
    """
    return [(_countries()[m[0]], m.start(), m.end()) for m in _pattern().finditer(text)]

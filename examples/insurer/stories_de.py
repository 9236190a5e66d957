"""What people tell in German, per line and peril, and the words that fill the gaps: `stories.py` in German.

A spoken story is written as subject|verb|rest, because German turns the two around behind a date ("mein
Golf|war|weg": "Mein Golf war weg", "Am 3.2. war mein Golf weg"). So that the endings of words fit, the words
of a gap have one gender: cars, devices and animals are masculine, bicycles neuter, persons, things and kin
feminine, goods plural. Streets, spots, rooms and times are adverbials ("im Hafenweg", "am Bahnhof").
"""

from stories import Stories

SLOTS: dict[str, tuple[str, ...]] = {
    "car": (
        "Golf", "Corsa", "Octavia", "Focus", "Tiguan", "Multivan", "Touran", "Duster", "Caddy", "Ibiza",
        "Volvo", "Mini", "Passat", "Fabia", "Audi", "BMW",
    ),
    "road": ("A1", "A7", "A23", "A24", "A25", "B5", "B75", "B431", "Landstraße", "Autobahn"),
    "street": (
        "in der Lindenallee", "in der Marktstraße", "im Hafenweg", "im Schulweg", "in der Kirchgasse",
        "in der Osterstraße", "in der Bahnhofstraße", "an der Elbchaussee", "im Birkenweg",
        "in der Deichstraße",
    ),
    "spot": (
        "am Bahnhof", "am Freibad", "beim Bäcker", "vorm Büro", "an der Schule", "vor der Bücherei",
        "vorm Fitnessstudio", "am Supermarkt", "am Rathaus", "am Hafen",
    ),
    "room": (
        "in der Küche", "im Bad", "im Wohnzimmer", "im Schlafzimmer", "im Flur", "im Arbeitszimmer",
        "im Gästezimmer",
    ),
    "goods": (
        "Polstermöbel", "Teppiche", "Bücher", "Kleiderschränke", "Sessel", "Schallplatten", "Schreibtische",
        "Matratzen", "Bücherregale", "Vorhänge",
    ),
    "loot": (
        "Schmuck", "zwei Uhren", "die Laptops", "eine Kamera", "das Silberbesteck", "eine Münzsammlung",
        "das Tablet", "Bargeld und Ringe", "die Halskette meiner Großmutter",
    ),
    "device": (
        "Fernseher", "Router", "Kühlschrank", "Computer", "Plattenspieler", "Geschirrspüler", "Trockner",
        "Gefrierschrank", "Kaffeevollautomat",
    ),
    "bike": (
        "Mountainbike", "Citybike", "E-Bike", "Rennrad", "Lastenrad", "Gravelbike", "Klapprad", "Trekkingrad",
    ),
    "person": (
        "Nachbarin", "Kollegin", "Schwägerin", "Mitbewohnerin", "Freundin", "Tante", "Tennispartnerin",
        "Cousine", "Klavierlehrerin",
    ),
    "thing": (
        "Brille", "Kamera", "Vase", "Geige", "Armbanduhr", "Lampe", "Jacke", "Gitarre", "Spielkonsole",
        "Handtasche",
    ),
    "animal": (
        "Hund Bruno", "Kater Momo", "Beagle Emil", "Kater Felix", "Dackel Kurt", "Terrier Lasse",
        "Retriever Balu", "Kater Mikesch", "Spaniel Kalle", "Pudel Fips",
    ),
    "city": (
        "Lissabon", "Rom", "Palma", "Athen", "Wien", "Oslo", "Antalya", "Bangkok", "Nizza", "Dublin", "Porto",
        "Boston", "Prag",
    ),
    "kin": ("Frau", "Tochter", "Mutter", "Partnerin", "Schwester", "Enkelin", "Schwiegermutter"),
    "joint": (
        "das Handgelenk", "das Fußgelenk", "die Hüfte", "das Schlüsselbein", "die Schulter", "das Knie",
    ),
    "time": ("nachts", "morgens", "abends", "gegen Mittag", "nach Feierabend"),
}  # fmt: skip

STORIES: dict[tuple[str, str], Stories] = {
    ("motor", "crash"): Stories(
        (
            "ich|habe|auf der {road} zu spät gebremst und bin dem Vordermann draufgefahren",
            "ein anderer Fahrer|hat|mir {spot} die Vorfahrt genommen und meinen {car} gerammt",
            "ich|bin|im Parkhaus mit dem {car} an einem Betonpfeiler entlanggeschrammt",
            "jemand|ist|{street} rückwärts in meinen geparkten {car} gefahren und abgehauen",
            "mein {car}|ist|bei Nässe {spot} in den Graben gerutscht",
            "mir|ist|auf der {road} ein Wildschwein vor den {car} gelaufen, ich konnte nicht mehr bremsen",
            "ich|habe|{spot} beim Zurücksetzen einen Poller übersehen, das Heck vom {car} ist eingedrückt",
            "ein Lieferwagen|hat|auf der {road} ohne zu gucken die Spur gewechselt und mich in die "
            "Leitplanke gedrückt",
        ),
        (
            "Auffahrunfall auf der {road}, Front vom {car} eingedrückt",
            "Wildunfall (Reh) auf der {road}, {car}: Motorhaube u. Scheinwerfer kaputt",
            "VN {street} beim Einparken gegen Mauer gefahren, Kotflügel {car} hin",
            "Radfahrer {spot} seitlich in {car} gefahren, Tür eingedellt",
            "geparkter {car} {spot} von Unbekannt gerammt, Fahrerflucht, Tür + Schweller eingedrückt",
            "{car} auf der {road} bei Glätte ins Schleudern geraten, gegen Leitplanke",
            "{car} beim Einfädeln auf die {road} Lkw touchiert",
        ),
    ),
    ("motor", "theft"): Stories(
        (
            "mein {car}|war|weg, als ich {street} wieder einsteigen wollte",
            "jemand|hat|unseren {car} {time} vor der Haustür geklaut, er war abgeschlossen",
            "Diebe|haben|meinen {car} vom Parkplatz {spot} mitgenommen",
            "ich|habe|da, wo mein {car} stand, nur noch eine leere Parklücke vorgefunden",
            "mein {car}|wurde|{time} gestohlen, während ich {spot} einen Termin hatte",
            "jemand|hat|mir beim Sport den Schlüssel aus der Jacke gezogen und ist mit dem {car} auf und "
            "davon",
            "mein {car}|ist|aus der Tiefgarage {street} verschwunden, abgeschleppt wurde er nicht",
        ),
        (
            "{car} {street} entwendet, bislang nicht wieder aufgetaucht",
            "Fzg. {time} aus Einfahrt verschwunden, vermutl. Keyless-System gehackt",
            "Totalentwendung {car}, Abstellort {spot}",
            "Kfz-Diebstahl {spot}, {car} nicht wiedergefunden",
            "{car} des VN {time} {street} weg, kein Abschleppdienst im Spiel",
            "{car} gestohlen, Schlüssel wurde durch Briefschlitz geangelt",
            "ganzes Auto {spot} geklaut ({car}), VN musste zu Fuß heim",
        ),
    ),
    ("motor", "glass"): Stories(
        (
            "ein Stein|ist|auf der {road} hochgeflogen, jetzt ist ein Riss in der Frontscheibe vom {car}",
            "die Windschutzscheibe von unserem {car}|hat|einen Steinschlag abbekommen, vor uns fuhr ein "
            "Kieslaster",
            "ein Fußball|ist|vom Schulhof in die Seitenscheibe von meinem {car} geflogen",
            "die Heckscheibe von meinem {car}|ist|{time} einfach zerbröselt, keiner weiß warum",
            "ein Ast|ist|{street} runtergekommen und hat die Heckscheibe vom {car} zerschlagen",
            "der kleine Steinschlag in der Frontscheibe|ist|{time} quer über die ganze Scheibe gerissen",
            "irgendwas|ist|auf der {road} gegen das Glasdach vom {car} geknallt, die Scheibe ist "
            "zersplittert",
        ),
        (
            "Steinschlag Frontscheibe {car}, Riss wandert",
            "Heckscheibe {car} durch Stein vom Rasenmäher zersprungen, {street}",
            "Scheinwerferglas + Frontscheibe durch Steinschlag auf der {road}, {car}",
            "WSS {car} gerissen, Kieslaster auf der {road}",
            "Glasbruch Panoramadach {car}, Ursache unklar",
            "{car}, Seitenscheibe {spot} eingeschlagen, nichts entwendet, nur Glas",
            "Seitenscheibe {car} durch Ball kaputt ({spot}), nichts gestohlen",
        ),
    ),
    ("motor", "hail"): Stories(
        (
            "Hagelkörner so groß wie Walnüsse|haben|Dach und Motorhaube von meinem {car} verbeult",
            "unser {car}|stand|{spot} im Freien, als der Hagel kam, jetzt sieht er aus wie ein Golfball",
            "wir|sind|auf der {road} in den Hagel gekommen, der {car} hat lauter kleine Dellen",
            "ein Hagelschauer|ist|{street} über meinen {car} gegangen, Dach und Heckklappe sind voller "
            "Beulen",
            "der Hagel|hat|{time} hunderte Dellen in meinen {car} geschlagen",
            "es|hat|auf der {road} kirschgroße Körner gehagelt, unser {car} ist rundum verbeult",
            "es|hat|{time} so gehagelt, dass Lack und Blech vom {car} lauter Macken haben",
        ),
        (
            "Hageldellen Dach + Haube, {car}, geparkt {street}",
            "{car} {spot} in Hagelschlag geraten, alle oberen Flächen verbeult",
            "Hagel auf der {road}, Karosserie {car} beschädigt",
            "{car}: Hagelschaden, {street}, unzählige Dellen",
            "Hagelschlag {time}, {car}: Dach, Haube, Heckklappe",
            "schwerer Hagel {spot}, {car} rundum verdellt",
            "{car} ohne Garage, {time} Hagel, Haube und beide Kotflügel",
        ),
    ),
    ("motor", "marten"): Stories(
        (
            "mein {car}|ist|nicht mehr angesprungen, ein Marder hat die Zündkabel zerbissen",
            "die Werkstatt|hat|Bissspuren am Kühlwasserschlauch von meinem {car} gefunden",
            "irgendein Tier|hat|sich unter der Haube von unserem {car} eingenistet und die Kabel durchgenagt",
            "die Motorlampe|ging|an und der Mechaniker hat angeknabberte Kabel rausgeholt, das war ein "
            "Marder",
            "ein Marder|war|schon wieder an den Schläuchen von meinem {car}, das Kühlwasser ist ausgelaufen",
            "ein Tier|hat|{street} die Zündkabel von unserem {car} angefressen",
            "ein Marder|hat|die Dämmmatte im Motorraum vom {car} zerfetzt, überall liegen Haare",
        ),
        (
            "Marderbiss, Kabel + Schlauch, {car}, geparkt {street}",
            "{car}: Kabelbaum {time} durchgebissen, Pfotenabdrücke auf Motorabdeckung",
            "Tierbiss Motorraum {car}, vermutl. Marder",
            "Marderverbiss Zündkabel {car}, {street}",
            "{car}: Kühlwasserschlauch u. Dämmmatte angefressen",
            "Bissspuren im Motorraum, {car} läuft unrund",
            "{car} auf der {road} liegen geblieben, lt. Werkstatt Schläuche vom Marder angebissen",
        ),
    ),
    ("contents", "burglary"): Stories(
        (
            "Einbrecher|haben|unsere Terrassentür aufgehebelt und {loot} mitgenommen",
            "ich|bin|heimgekommen und das Schloss war aufgebohrt, die haben {loot} eingesackt",
            "jemand|ist|{room} durchs Fenster eingestiegen und hat {loot} gestohlen",
            "bei uns {street}|wurde|{time} eingebrochen, die Täter haben {loot} mitgehen lassen",
            "Diebe|haben|unsere Wohnungstür eingetreten und {loot} geklaut",
            "Unbekannte|haben|{time} unsere Wohnung durchwühlt und {loot} gestohlen",
            "Einbrecher|haben|die Haustür aufgebrochen, während wir weg waren, und {loot} mitgenommen",
        ),
        (
            "ED Wohnung {street}, Fenster aufgehebelt, entwendet: {loot}",
            "Einbruch {time} über Balkon, Täter nahmen {loot} mit",
            "Wohnungseinbruch, Schloss gepickt, alles durchsucht, {loot} weg",
            "Einbruchdiebstahl beim VN, Terrassentür aufgehebelt, Beute: {loot}",
            "Täter durch Kellerfenster eingestiegen ({street}), Verlust: {loot}",
            "Einbruch {time}, Fenster {room} auf, {loot} gestohlen",
            "Fremde {time} im Haus, Türrahmen gesplittert, {loot} entwendet",
        ),
    ),
    ("contents", "fire"): Stories(
        (
            "eine Kerze|hat|{room} unsere {goods} in Brand gesetzt",
            "der Toaster|hat|Feuer gefangen, Flammen und Ruß haben unsere {goods} ruiniert",
            "ein Handyladegerät|hat|{time} geschmort und {room} meine {goods} verbrannt",
            "eine Pfanne mit Öl|ist|in Flammen aufgegangen, {goods} und viel Hausrat sind verkohlt",
            "unser Adventskranz|ist|abgebrannt und unsere {goods} gleich mit",
            "unsere {goods}|sind|verbrannt, weil {time} eine Steckdosenleiste Feuer gefangen hat",
            "Funken aus dem Ofen|sind|auf die {goods} gesprungen und haben große Löcher reingebrannt",
        ),
        (
            "Hausrat verbrannt, {goods} {room} Totalschaden, Ursache Kerze",
            "Akku von E-Scooter {room} in Brand geraten, {goods} verkohlt",
            "Kleinbrand in Mietwohnung {street}, {goods} des Mieters verbrannt/verrußt",
            "Brand {room} durch vergessenen Topf, {goods} verbrannt",
            "{goods} {room} durch Feuer zerstört, vermutl. Mehrfachsteckdose",
            "Zigarettenglut, daraus Brand, {goods} der VN verrußt",
            "Teelicht umgekippt, {goods} der VN angesengt",
        ),
    ),
    ("contents", "water"): Stories(
        (
            "der Schlauch von der Waschmaschine|ist|abgegangen und unsere {goods} sind klatschnass",
            "Wasser|ist|aus der Wohnung über uns auf meine {goods} getropft",
            "mein Aquarium|ist|{time} ausgelaufen, die {goods} sind hin",
            "die Spülmaschine|ist|übergelaufen und unsere {goods} standen im Wasser",
            "ich|habe|{room} den Hahn laufen lassen, jetzt sind unsere {goods} durchnässt",
            "bei den Nachbarn oben|ist|die Badewanne übergelaufen, meine {goods} sind nass geworden",
            "vom Mieter über uns|ist|Wasser durchgekommen und hat meine {goods} und ein paar Kleider "
            "ruiniert",
        ),
        (
            "Waschmaschine ausgelaufen, {goods} {room} durchnässt, VN wohnt zur Miete",
            "Wasser durch Decke aus Whg. darüber, {goods} unbrauchbar",
            "Geschirrspülerschlauch geplatzt, Leitungswasser über {goods}, nur Hausrat",
            "Badewanne der Nachbarn übergelaufen, {goods} des VN nass",
            "Waschmaschinenschlauch abgerutscht, {goods} unter Wasser",
            "Aquarium {room} geplatzt, {goods} durchweicht, nur bewegl. Sachen",
            "{goods} nach Boilerleck beim Nachbarn nass u. aufgequollen",
        ),
    ),
    ("contents", "bike"): Stories(
        (
            "jemand|hat|{spot} das Schloss geknackt und mein {bike} geklaut",
            "mein {bike}|wurde|{spot} aus dem Fahrradständer gestohlen",
            "mein {bike}|war|{street} aus dem Hof weg, nur die durchgezwickte Kette lag noch da",
            "ich|hatte|mein {bike} {spot} an eine Laterne angeschlossen, es ist weg",
            "mein {bike}|wurde|{time} aus dem Fahrradkeller geholt, das Schloss lag in zwei Teilen da",
            "Diebe|haben|{time} mein {bike} vom Balkon geholt",
            "jemand|hat|{spot} mein {bike} samt Schloss vom Autoträger geklaut",
        ),
        (
            "{bike} {spot} entwendet, Schloss durchtrennt",
            "Diebstahl {bike} (abgeschlossen) aus Fahrradständer, {street}",
            "{bike} {time} aus Hof gestohlen, Kette durchgesägt",
            "Fahrraddiebstahl: {bike}, {spot}, Bügelschloss geknackt",
            "{bike} des VN aus Fahrradkeller weg, Vorhängeschloss aufgebrochen",
            "Fahrraddiebstahl, {bike} war {street} am Geländer angekettet",
            "VN hatte {bike} {spot} angekettet, Rad weg",
        ),
    ),
    ("contents", "surge"): Stories(
        (
            "bei uns|hat|in der Nähe der Blitz eingeschlagen, seitdem ist mein {device} tot",
            "es|gab|{time} eine Spannungsspitze, mein {device} hat mit einem Knall den Geist aufgegeben",
            "mein {device}|ging|nach einem Blitzschlag nicht mehr an, die Telefonanlage auch nicht",
            "der Strom|kam|nach dem Ausfall mit einem Schlag zurück und hat unseren {device} gegrillt",
            "ein Gewitter|hat|Überspannung ins Netz gedrückt, unser {device} ist hinüber",
            "der Blitz|ist|{time} ins Nachbarhaus gefahren und mein {device} ist durchgebrannt",
            "unser {device}|ist|{room} nach Blitz und Knall durch Überspannung durchgeschmort",
        ),
        (
            "Überspannung nach Blitz, {device} defekt",
            "Überspannungsschaden {street} {time}, {device} u. Modem hinüber",
            "{device} bei Gewitter durch Spannungsspitze zerstört",
            "{device} durchgebrannt, Überspannung, Gewitter {time}",
            "Blitzeinschlag {street}, {device} defekt, Überspg.",
            "Netzfehler beim Versorger, {device} und Ladegerät defekt",
            "Blitz in Freileitung, {device} ohne Funktion",
        ),
    ),
    ("building", "storm"): Stories(
        (
            "der Sturm|hat|{street} Ziegel von unserem Dach gerissen",
            "eine Bö|hat|unsere alte Birke aufs Hausdach geworfen",
            "der Orkan|hat|uns die Regenrinne und ein Stück Dachkante vom Haus gerissen",
            "starker Wind|hat|{time} das Blech auf unserem Flachdach hochgehoben",
            "der Sturm|hat|unseren Schornstein umgeworfen",
            "Böen|haben|{street} die Fensterläden von unserem Haus abgerissen",
            "der Wind|hat|die Tanne vom Nachbarn auf unser Dach gekippt, die Ziegel sind kaputt",
        ),
        (
            "Sturm Bft 9, Dachziegel Haus {street} weg",
            "Baum bei Sturm auf Garagendach, Eigenheim",
            "Schornsteinkopf u. Ziegel {time} runtergekommen, EFH {spot}",
            "Sturmböen, Regenrinne + Ziegel abgerissen, Haus {street}",
            "Dach vom EFH {time} durch Sturm teilw. abgedeckt",
            "Baum auf Wintergartendach gestürzt (Sturm), eigenes Haus",
            "Orkanböen, First abgedeckt, {street}",
        ),
    ),
    ("building", "fire"): Stories(
        (
            "der Dachstuhl von unserem Haus|hat|Feuer gefangen, als die Dachdecker geschweißt haben",
            "ein Kaminbrand|hat|sich {street} durch die Hauswand gefressen",
            "der Sicherungskasten|ist|in Flammen aufgegangen, Wände und Decke vom Haus sind schwarz",
            "unser Carport|hat|gebrannt und die Flammen sind auf die Hausfassade übergegangen",
            "unser Haus {street}|ist|in Brand geraten, das Dach ist runtergebrannt",
            "ein Feuer {room}|ist|auf Wände und Fußboden von unserem Haus übergegangen",
            "Flammen vom Schuppen des Nachbarn|haben|auf unser Haus übergegriffen, Dachüberstand und "
            "Fenster sind verbrannt",
        ),
        (
            "Hausbrand {street}, Dachboden und Dachstuhl abgebrannt",
            "Brand im EFH, {room}: Wände, Fenster, Estrich betroffen",
            "Fassadendämmung verbrannt, Mülltonnen wurden angezündet, {street}",
            "Wohnhaus {time} in Brand, Dach + OG zerstört",
            "Kaminbrand {street}, Wand u. Balken vom Haus verkohlt",
            "Brand in Garage am Haus, Tor, Dach und Mauer verbrannt",
            "Kabelbrand {time}, Treppenhaus u. Decke vom Haus zerstört",
        ),
    ),
    ("building", "pipe"): Stories(
        (
            "ein Wasserrohr|ist|{room} in der Wand geplatzt, der Putz fällt runter",
            "das Heizungsrohr unter unserem Fußboden|ist|gerissen, der Estrich im Haus ist nass",
            "Wasser|kam|{time} aus der Wand, im Mauerwerk war ein Rohr gebrochen",
            "die Zuleitung in unserem Haus|ist|durchgerostet und geplatzt, {room} kam die Decke runter",
            "ein Heizungsrohr in der Wand|ist|{time} geplatzt und hat unser Haus geflutet",
            "das Abflussrohr|ist|{room} gebrochen, der Boden musste aufgestemmt werden",
            "eine undichte Rohrverbindung hinter den Fliesen|hat|{room} die ganze Wand in unserem Haus "
            "ruiniert",
        ),
        (
            "Rohrbruch in Wand {room}, Putz u. Estrich nass, eigenes Haus",
            "Warmwasserleitung im Fußboden gebrochen, EFH {street}",
            "LW-Schaden, Zuleitung Kellerwand {time} gerissen, Mauerwerk durchfeuchtet",
            "Rohrbruch im Haus {street}, Wand {room} nass",
            "Frost, Heizungsrohr im Dachboden geplatzt, Decken nass",
            "Leck an Wasserleitung unter Fußboden {room}, Estrich hin, Eigenheim",
            "Eigentümer meldet Rohrbruch hinter Fliesen {room}, Wand offen",
        ),
    ),
    ("building", "flood"): Stories(
        (
            "der Bach|ist|über die Ufer getreten, unser Keller war bis zur Decke voll",
            "nach einem Wolkenbruch|ist|das Wasser von der Straße durch die Kellerfenster ins Haus gelaufen",
            "der Fluss|kam|über den Deich, unser Erdgeschoss stand knietief unter Wasser",
            "Starkregen|hat|{street} alles überflutet, das Wasser drückte durch unsere Kellerwände",
            "unser Keller|ist|vollgelaufen, weil der Graben hinterm Haus übergelaufen ist",
            "nach stundenlangem Regen|ist|das Wasser {street} in unser Haus gelaufen und stand im Flur",
            "das Hochwasser der Elbe|ist|in unser Haus gekommen, die Böden haben sich hochgewölbt",
        ),
        (
            "Überschwemmung nach Starkregen, Keller Haus {street} vollgelaufen",
            "Fluss {time} über die Ufer getreten, EG unter Wasser",
            "Oberflächenwasser vom Feld ins Haus gelaufen, Böden u. Türen gequollen",
            "Keller EFH nach Wolkenbruch unter Wasser, {street}",
            "Hochwasser, EG + Hauswände durchnässt, Schlamm",
            "Hof überflutet, Regenwasser durch Haustür eingedrungen",
            "Bach {spot} übergelaufen, Hauskeller geflutet",
        ),
    ),
    ("building", "damp"): Stories(
        (
            "wir|haben|gemerkt, dass die Kellerwand über die Jahre schimmelig geworden ist",
            "ich|habe|gesehen, dass {room} schon lange Feuchtigkeit die Wand hochzieht",
            "wir|haben|hinterm Schrank schwarzen Schimmel entdeckt, die Außenwand ist seit Ewigkeiten feucht",
            "ein Maurer|hat|uns gesagt, dass aufsteigende Feuchte den Putz vom Haus nach und nach zerbröselt",
            "ich|habe|{room} festgestellt, dass sich der Schimmel Stück für Stück ausbreitet, die Wand "
            "ist klamm",
            "mir|ist|aufgefallen, dass seit Jahren Feuchtigkeit in unseren Hauswänden hochsteigt",
            "ich|habe|Salzränder entdeckt, die Bodenfeuchte frisst seit Jahren an unserem Keller",
        ),
        (
            "aufsteigende Feuchte in Kellerwänden, schleichend, kein Rohr beteiligt",
            "Schimmel {room}, Wand lt. Eigentümer seit Jahren feucht",
            "allmähliche Durchfeuchtung Außenwand, {street}, Putz bröckelt",
            "Schimmel u. Feuchte {room}, über Jahre entstanden, EFH",
            "feuchter Keller, Salzausblühungen, schleichende Ursache, Haus {street}",
            "Feuchte hinter Vertäfelung {room}, kein Rohrbruch, kein Hochwasser",
            "Eigentümer bemerkt langjährige Feuchte + Stockflecken {room}",
        ),
    ),
    ("liability", "injury"): Stories(
        (
            "ich|habe|mit dem Rad eine alte Dame umgefahren, sie hat sich {joint} gebrochen",
            "meine {person}|ist|auf der Treppe ausgerutscht, die ich gerade gewischt habe, und hat sich "
            "{joint} verletzt",
            "unser Hund|hat|einen Jogger angesprungen, der hat sich beim Sturz {joint} gebrochen",
            "ich|habe|ohne zu gucken das Tor aufgemacht und ein Kind getroffen und verletzt",
            "ich|bin|{spot} in einen Fußgänger gelaufen, er hat sich {joint} verletzt",
            "ein Gast|ist|über meinen Teppich gestolpert und hat sich {joint} gebrochen",
            "ein Besucher|ist|über meinen Gartenschlauch gefallen, Bänderriss",
        ),
        (
            "Fußgänger {street} über Leiter des VN gestürzt, hat sich {joint} gebrochen",
            "VN mit Rad {spot} Spaziergänger angefahren, hat sich {joint} verletzt",
            "Hund des VN hat Postboten in die Hand gebissen",
            "VN hat {spot} älteren Herrn umgestoßen, {joint} gebrochen",
            "Kind bei Zusammenstoß mit Schlitten des VN verletzt, {joint} geprellt",
            "Passantin auf vereistem Gehweg des VN ausgerutscht ({street}), {joint} gebrochen",
            "VN im Schwimmbad auf Schwimmerin gesprungen, hat ihr {joint} gebrochen",
        ),
    ),
    ("liability", "damage"): Stories(
        (
            "ich|habe|Kaffee über die {thing} von meiner {person} gekippt",
            "ich|habe|mich auf einer Feier auf die {thing} meiner {person} gesetzt, jetzt ist sie kaputt",
            "mein kleiner Sohn|hat|einen Stein geworfen und die {thing} von unserer {person} getroffen",
            "ich|habe|{spot} eine Fremde angerempelt, dabei ist ihr die {thing} runtergefallen",
            "ich|bin|gestolpert und habe die {thing} von meiner {person} vom Tisch gerissen",
            "unser Sohn|hat|{spot} einen Ball gegen die {thing} von einem Fremden geschossen",
            "unser Hund|hat|die {thing} von meiner {person} zerkaut",
        ),
        (
            "VN hat {thing} der {person} fallen lassen",
            "Kind des VN hat beim Spielen {thing} der {person} zerstört",
            "VN hat {spot} einer Passantin die {thing} aus der Hand gestoßen, kaputt",
            "VN auf {thing} der {person} getreten, Bruch",
            "Sohn des VN hat {spot} {thing} von Mitschüler beschädigt",
            "Hund des VN hat {thing} der {person} zerbissen",
            "Rotwein über fremde {thing} beim Abendessen, AS ist {person}",
        ),
    ),
    ("liability", "keys"): Stories(
        (
            "ich|habe|den Generalschlüssel von unserem Bürogebäude verloren, die Schlösser müssen "
            "getauscht werden",
            "mir|ist|der Schlüssel vom Vereinsheim in den Kanal gefallen, er war nur geliehen",
            "ich|habe|den Schlüsselbund verlegt, den mir der Sportverein geliehen hat",
            "mein Dienstschlüssel|ist|nicht mehr aufzufinden, der Chef muss die Zylinder tauschen lassen",
            "ich|habe|{spot} den Schlüssel von meiner Arbeitsstelle verloren, alle Zylinder müssen neu",
            "mir|ist|{street} der Treppenhausschlüssel durchs Gitter gerutscht, den kriegt keiner mehr raus",
            "ich|habe|den Haustürschlüssel von unserem Block in der Bahn liegen lassen, jetzt kommt "
            "überall ein neues Schloss rein",
        ),
        (
            "VN hat Schlüssel des Arbeitgebers verloren, Schlösser werden getauscht",
            "Schlüsselverlust {street}, gemeinsame Haustür, Vermieter tauscht Zylinder",
            "Vereinsschlüssel weg, ganze Schließanlage betroffen",
            "VN verlor Haustürschlüssel der Mietwohnung, Schließanlage neu",
            "Büroschlüssel {time} verloren, AG tauscht alle Zylinder",
            "Dienstschlüssel {spot} verloren, Zylindertausch",
            "VN (Hausmeister) hat Schlüsselring {spot} verloren",
        ),
    ),
    ("liability", "tenant"): Stories(
        (
            "mir|ist|in unserer Mietwohnung eine Parfümflasche ins Waschbecken gefallen, es ist gesprungen",
            "ich|habe|in der Mietwohnung die Wanne überlaufen lassen, das Parkett vom Vermieter ist "
            "aufgequollen",
            "unsere Katze|hat|{street} in unserer Mietwohnung die Türen zerkratzt",
            "ich|habe|in der gemieteten Ferienwohnung ein Loch in die Arbeitsplatte gebrannt",
            "mir|ist|in der Mietwohnung eine Pfanne aufs Kochfeld gefallen, das Glas ist gesprungen",
            "ich|habe|{room} meiner Mietwohnung eine Leitung angebohrt, der Vermieter will es repariert "
            "haben",
            "ich|habe|mit dem Staubsauger die Glastür in meiner Mietwohnung zerschlagen",
        ),
        (
            "Mietsachschaden, Boden {room} durch Mieter beschädigt, Whg. {street}",
            "Waschbecken in Mietwohnung gesprungen, Vermieter fordert Ersatz",
            "VN ließ Badewanne in Mietwohnung überlaufen, Parkett des Vermieters gequollen",
            "VN hat Kochfeld in Mietwohnung zerstört, {street}",
            "Mietwohnung: Tür {room} durch Mieter beschädigt, Vermieter macht Anspruch geltend",
            "VN hat in Mietwohnung Fliesen durchbohrt ({room}), Vermieter will Reparatur",
            "VN hat im Hotelzimmer Badtür zerstört",
        ),
    ),
    ("liability", "favour"): Stories(
        (
            "ich|habe|meiner {person} beim Umzug geholfen und ihre {thing} auf der Treppe fallen lassen",
            "ich|habe|aus Gefälligkeit Kisten für meine {person} getragen, dabei ist mir die {thing} "
            "runtergefallen",
            "ich|habe|umsonst auf die Wohnung meiner {person} aufgepasst und dabei eine {thing} kaputt "
            "gemacht",
            "ich|habe|meiner {person} unentgeltlich mit den Möbeln geholfen und einen Spiegel zerschlagen",
            "ich|habe|meiner {person} für lau beim Streichen geholfen und ihre {thing} umgestoßen",
            "ich|habe|meiner {person} aus Freundschaft die {thing} hochgetragen, sie ist mir aus der Hand "
            "gerutscht",
            "ich|wollte|meiner {person} als Freundschaftsdienst die {thing} reparieren und habe sie ruiniert",
        ),
        (
            "VN half {person} unentgeltl. beim Umzug, {thing} fallen gelassen",
            "Gefälligkeit: Blumen für {person} gegossen, Fußboden überschwemmt",
            "Nachbarschaftshilfe, VN hat {thing} der {person} beim Tragen zerbrochen",
            "VN half {person} ohne Bezahlung, {thing} beschädigt",
            "Gefälligkeitsschaden: Umzug {person}, {thing} auf Treppe zu Bruch",
            "Gefallen für {person}: VN baute Regal auf, fiel auf {thing}",
            "VN hängte für {person} gratis Lampen auf, {thing} zu Boden gefallen",
        ),
    ),
    ("travel", "illness"): Stories(
        (
            "ich|bin|im Urlaub in {city} krank geworden und musste ins Krankenhaus",
            "meine {kin}|hat|sich auf der Reise in {city} {joint} gebrochen und wurde dort behandelt",
            "unser Kind|hat|in {city} hohes Fieber bekommen, der Arzt kam ins Hotel",
            "ich|musste|auf Reisen in {city} wegen einem Abszess zum Zahnarzt",
            "meine {kin}|kam|während unseres Urlaubs in {city} ins Krankenhaus",
            "ich|habe|mir auf der Rundreise in {city} eine Lungenentzündung eingefangen und musste zum Arzt",
            "ich|habe|mir im Urlaub in {city} eine Lebensmittelvergiftung geholt und lag in der Klinik",
        ),
        (
            "VN in {city} erkrankt, ambulant in Klinik behandelt",
            "{kin} des VN im Urlaub in {city} verletzt, Arzt vor Ort",
            "Blinddarm auf Reise in {city}, dort operiert",
            "VN in {city} im Hotel gestürzt, hat sich {joint} verletzt, Krankenhaus",
            "{kin} des VN mit hohem Fieber auf Reise in {city}, Arzt gerufen",
            "Magen-Darm im Urlaub, Klinik in {city}",
            "Mittelohrentzündung auf Reise in {city}, Krankenwagen + Apotheke",
        ),
    ),
    ("travel", "cancel"): Stories(
        (
            "wir|mussten|unsere Reise nach {city} absagen, weil meine {kin} zu Hause krank wurde",
            "ich|habe|meinen Flug nach {city} storniert, weil ich mir vor der Abreise {joint} gebrochen habe",
            "wir|konnten|nicht nach {city} aufbrechen, meine {kin} ist gestorben und wir blieben zur "
            "Beerdigung",
            "ich|habe|meinen Job verloren und die gebuchte Reise nach {city} abgesagt",
            "wir|sind|gar nicht erst nach {city} gekommen, meine {kin} hatte am Tag vor der Abfahrt einen "
            "Unfall",
            "ich|musste|die Reise nach {city} stornieren, der Arzt hat mir das Reisen verboten",
            "wir|mussten|vom Urlaub in {city} zurücktreten, weil meine {kin} operiert werden musste",
        ),
        (
            "Reiserücktritt {city}, {kin} des VN im Krankenhaus",
            "VN reiseunfähig, Reise nach {city} storniert, hat sich {joint} gebrochen",
            "Urlaub in {city} nicht angetreten, Trauerfall in Familie",
            "Storno {city}, {kin} des VN vor Abreise verstorben",
            "VN storniert Flug nach {city}, {kin} erkrankt",
            "Reise nach {city} nicht angetreten, VN hat sich zu Hause {joint} gebrochen",
            "Stornierung Rundreise {city}, VN hat Grippe, nie losgefahren",
        ),
    ),
    ("travel", "bags"): Stories(
        (
            "mein Koffer|kam|in {city} nie vom Band",
            "mir|wurde|am Bahnhof in {city} der Rucksack weggerissen",
            "unser Koffer|kam|in {city} zerquetscht an, die halben Klamotten fehlten",
            "jemand|hat|in {city} unsere Taschen aus der Hotellobby geklaut",
            "unser Gepäck|ging|beim Umsteigen auf dem Weg nach {city} verloren",
            "ein Dieb|hat|in {city} im Café meine Tasche unterm Tisch weggezogen",
            "die Airline|hat|unser Gepäck auf dem Weg nach {city} verschlampt, es bleibt weg",
        ),
        (
            "Koffer auf Flug nach {city} verloren, Suche läuft",
            "Handgepäck am Flughafen in {city} gestohlen",
            "zwei Koffer bei Ankunft in {city} nicht da, VN ohne Kleidung",
            "Gepäck seit Flug nach {city} vermisst, Suche ergebnislos",
            "Koffer im Zug nach {city} gestohlen",
            "Gepäckschaden auf Flug nach {city}, Koffer aufgeplatzt",
            "Koffer beim Transport nach {city} aufgebrochen, Inhalt weg",
        ),
    ),
    ("travel", "delay"): Stories(
        (
            "unser Flieger nach {city}|ging|neun Stunden zu spät, wir mussten ins Hotel",
            "mein Zug|ist|liegen geblieben, ich habe den Anschluss nach {city} verpasst und musste "
            "übernachten",
            "wir|saßen|einen halben Tag am Flughafen fest, bis der Flug nach {city} ging",
            "die Fähre|hatte|sieben Stunden Verspätung, wir brauchten Essen und ein Zimmer",
            "unser Flug nach {city}|hatte|sechs Stunden Verspätung und die letzte Bahn nach Hause war weg",
            "wir|haben|zehn Stunden auf den Flieger nach {city} gewartet",
            "unser Rückflug aus {city}|wurde|auf den nächsten Tag verschoben",
        ),
        (
            "Flug nach {city} 8 Std. verspätet, Übernachtung + Verpflegung",
            "Anschluss in {city} wg. Zugverspätung verpasst, Taxi nötig",
            "VN am Flughafen gestrandet, Abflug in {city} erst am nächsten Tag",
            "Flugverspätung {city}, sieben Std., Hotel u. Essen",
            "Zug nach {city} fünf Std. verspätet, VN musste übernachten",
            "Fähre verspätet, Essen + Zimmer selbst bezahlt",
            "Abflug nach {city} um halben Tag verschoben, VN hat Hotel bezahlt",
        ),
    ),
    ("pet", "accident"): Stories(
        (
            "unser {animal}|wurde|{street} von einem Auto angefahren",
            "unser {animal}|ist|vom Balkon gefallen und hat sich das Bein gebrochen",
            "unser {animal}|hat|sich {spot} die Pfote an Scherben aufgeschnitten und musste genäht werden",
            "unser {animal}|wurde|{spot} von einem anderen Hund gebissen",
            "unser {animal}|ist|in ein Fahrrad gelaufen und hat sich eine Rippe gebrochen",
            "unser {animal}|hat|sich die Pfote in der Tür eingeklemmt, sie musste geschient werden",
            "unser {animal}|ist|über einen Zaun gesprungen und hat sich ein Band gerissen",
        ),
        (
            "{animal} {street} angefahren, Fraktur operiert",
            "{animal} {time} Treppe runtergefallen, Bein gebrochen",
            "{animal} bei Beißerei {spot} verletzt, Wunde genäht",
            "{animal} {spot} von Radfahrer erfasst, Lauf gebrochen",
            "{animal} aus Fenster gesprungen, Bruch + Prellungen",
            "{animal} an Stacheldraht aufgerissen, Wunde genäht",
            "{animal} Nagel in Pfote getreten, OP",
        ),
    ),
    ("pet", "illness"): Stories(
        (
            "bei unserem {animal}|wurde|Diabetes festgestellt",
            "unser {animal}|hat|nicht mehr gefressen, die Klinik fand eine Nierenentzündung",
            "unser {animal}|hatte|einen Tumor am Bauch, der raus musste",
            "unser {animal}|hat|eine schlimme Ohrenentzündung bekommen und musste behandelt werden",
            "unser {animal}|bekam|eine Lungenentzündung und musste in der Klinik bleiben",
            "unser {animal}|wurde|herzkrank und braucht jetzt dauerhaft Tabletten",
            "unser {animal}|hatte|Krämpfe, laut Klinik ist es Epilepsie",
        ),
        (
            "{animal}: Herzerkrankung, Medikation begonnen",
            "{animal} wg. Blasenentzündung behandelt",
            "{animal} mit Fieber u. Lungeninfekt, stationär",
            "{animal} mit Diabetes, Insulin begonnen",
            "{animal}: Tumor am Bauch entfernt",
            "{animal} Diagnose Epilepsie, Medikamente",
            "{animal}: Schilddrüse erkrankt, Bluttests",
        ),
    ),
    ("pet", "poison"): Stories(
        (
            "unser {animal}|hat|{spot} Rattengift gefressen",
            "unser {animal}|hat|eine ganze Tafel Zartbitterschokolade verschlungen und ist umgekippt",
            "unser {animal}|hat|in der Garage Frostschutzmittel geleckt, ihm wurde der Magen ausgepumpt",
            "unser {animal}|hat|an einer Lilie geknabbert, es ging ihm furchtbar",
            "unser {animal}|hat|im Garten der Nachbarn Schneckenkorn gefunden und gefressen",
            "unser {animal}|hat|aus einem Eimer mit Putzmittel getrunken und kaum noch Luft bekommen",
            "unser {animal}|hat|{street} eine vergiftete Wurst gefressen",
        ),
        (
            "{animal} hat Schneckenkorn aufgenommen, Magen gespült",
            "V. a. Giftköder {street}, {animal} erbricht, Gegenmittel",
            "{animal} fraß Trauben u. Schokolade, Vergiftung",
            "{animal} hat {spot} Rattengift geschluckt, Gegengift",
            "{animal} Xylit-Kaugummi gefressen, vergiftet, Intensiv",
            "{animal} hat Frostschutz geleckt, Vergiftung behandelt",
            "{animal} hat Herztabletten des Halters geschluckt, Entgiftung in Klinik",
        ),
    ),
    ("pet", "teeth"): Stories(
        (
            "unser {animal}|hat|den Zahnstein entfernt bekommen",
            "unserem {animal}|mussten|zwei faule Zähne gezogen werden",
            "unser {animal}|bekam|eine Zahnreinigung unter Narkose",
            "unser {animal}|hat|eine Krone auf einen abgenutzten Fangzahn bekommen",
            "unser {animal}|hat|sich einen Fangzahn abgebrochen, die Wurzel musste raus",
            "unserem {animal}|wurden|die Zähne gereinigt und poliert",
            "unser {animal}|hatte|entzündetes Zahnfleisch, drei Backenzähne mussten raus",
        ),
        (
            "{animal}: Zahnsteinentfernung und Politur",
            "{animal}, Zahnextraktion, zwei Backenzähne",
            "Zahnbehandlung {animal}, Zahnstein + Zahnfleischtaschen",
            "{animal}: Zahnreinigung u. eine Extraktion",
            "{animal} mit Zahnstein, Reinigung unter Narkose",
            "Zahnfleischerkrankung {animal}, drei Zähne gezogen",
            "{animal}: lockerer Fangzahn unter Narkose gezogen",
        ),
    ),
}

PAPERS: dict[str, tuple[str, ...]] = {
    "photos": ("die Fotos", "ein paar Fotos", "die Bilder"),
    "quote": ("der KVA", "der Kostenvoranschlag", "ein Kostenvoranschlag"),
    "bill": ("die Rechnung", "die Schlussrechnung", "eine Rechnung"),
    "police": ("die Strafanzeige", "das Polizeiprotokoll", "die Anzeige bei der Polizei"),
    "fobs": ("beide Autoschlüssel", "die zwei Autoschlüssel", "beide Fahrzeugschlüssel"),
    "list": ("die Schadenliste", "eine Liste der Sachen", "die Aufstellung der Sachen"),
    "proof": ("der Kaufbeleg", "der Kassenbon", "der Kaufnachweis"),
    "frame": ("die Rahmennummer", "die Rahmennummer vom Rad"),
    "expert": ("der Bericht vom Elektriker", "das Elektriker-Gutachten"),
    "brigade": ("der Feuerwehrbericht", "der Bericht der Feuerwehr"),
    "plumber": ("der Klempnerbericht", "der Bericht vom Installateur"),
    "letter": ("das Schreiben der Gegenseite", "der Brief vom Anspruchsteller", "das Anspruchsschreiben"),
    "medic": ("der Arztbericht", "das Attest", "der Befund vom Arzt"),
    "lease": ("der Mietvertrag", "der Mietvertrag in Kopie"),
    "booking": ("die Buchungsbestätigung", "die Reisebestätigung", "die Buchung"),
    "carrier": ("die Bestätigung der Airline", "die Bestätigung vom Beförderer"),
    "vet": ("der Tierarztbericht", "der Befund vom Tierarzt"),
}
"""In the nominative; "der" and "ein" at the beginning become "den" and "einen" where a sentence wants it."""

FEELINGS = {
    "large": Stories(
        (
            "Es ist eine Katastrophe.",
            "Wir haben ein Vermögen verloren.",
            "So einen Riesenschaden hatte ich noch nie.",
            "Das ist für uns enorm.",
            "Das ruiniert uns.",
        ),
        ("Sehr hoher Schaden.", "Großschaden.", "Extrem teuer.", "Riesiger Schaden.", "Gravierend."),
    ),
    "small": Stories(
        (
            "Nur eine Kleinigkeit, ich weiß.",
            "Ist bloß eine Lappalie.",
            "Eigentlich halb so wild.",
            "Nicht viel, aber immerhin.",
            "Ich weiß, das sind Peanuts.",
        ),
        ("Kleinigkeit.", "Bagatelle.", "Sehr geringer Schaden.", "Kleinstschaden.", "Lappalie."),
    ),
}
